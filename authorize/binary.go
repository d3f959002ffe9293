package authorize

import "github.com/usher-auth/usher/internal/binary"

// How codes, consents and clients are written and read: one line for each field. What a new
// line needs stands in package binary.

func (c *Code) members() []binary.Member {
	return []binary.Member{
		binary.Text("client_id", &c.ClientID),
		binary.Text("redirect_uri", &c.RedirectURI),
		binary.Flag("redirect_uri_sent", &c.RedirectURISent),
		binary.Text("code_challenge", &c.Challenge),
		binary.Texts("scopes", &c.Scopes),
		binary.Texts("resources", &c.Resources),
		binary.Text("sub", &c.Subject),
		binary.Millis("auth_time_ms", &c.AuthTime),
		binary.Text("acr", &c.ACR),
		binary.Texts("amr", &c.AMR),
		binary.Text("nonce", &c.Nonce),
		binary.JSON("claims", &c.Claims),
		binary.Pairs("parameters", &c.Parameters),
		binary.Text("session_id", &c.SessionID),
		binary.Bytes("session_data", &c.SessionData),
		binary.Millis("issued_at_ms", &c.IssuedAt),
		binary.Millis("expires_at_ms", &c.ExpiresAt),
		binary.Millis("used_at_ms", &c.UsedAt),
	}
}

// MarshalBinary returns the code in the form in which a [CodeStore] may keep it: a JSON
// object with every field in it that is set, for [Code.UnmarshalBinary]. It implements
// [encoding.BinaryMarshaler].
//
// Times are in UTC and in whole milliseconds; what is less is cut off. Texts keep their
// bytes, UTF-8 or not, and nil stays apart from empty. A time too far from 1970 to be counted
// in milliseconds is an error, and so is one in the first millisecond of the year 1, which
// would come back as zero. The size is not limited: SessionData takes a third more than its bytes,
// and a text up to six times as many.
//
// Every later release reads what an earlier one wrote. An earlier one reads what a later one
// wrote, without the fields that it does not know, unless that would grant more than was
// written: then the record has a version that the earlier one refuses.
func (c Code) MarshalBinary() ([]byte, error) { return binary.Marshal("code", c.members()) }

// UnmarshalBinary sets the code to what [Code.MarshalBinary] has written, as a whole. It
// implements [encoding.BinaryUnmarshaler]. The code shares no memory with b.
//
// A store that keeps UsedAt beside the record, because TakeCode changes it, sets it after
// reading. Writing a record anew that a later release wrote loses what only that release
// knows, so it is better to write each once.
//
// What is not such a record is an error and leaves c as it was: other bytes, a part of a
// record, a record of another type, one with a member twice or of the wrong kind, and one of a
// later version. Members that this release does not know are ignored. The error has none of
// the values in it. Nothing protects against somebody who can write to the store.
func (c *Code) UnmarshalBinary(b []byte) error {
	var read Code
	if err := binary.Unmarshal("code", b, read.members()); err != nil {
		return err
	}
	*c = read
	return nil
}

func (c *ConsentRecord) members() []binary.Member {
	return []binary.Member{
		binary.Text("sub", &c.Subject),
		binary.Text("client_id", &c.ClientID),
		binary.Texts("scopes", &c.Scopes),
		binary.Texts("resources", &c.Resources),
		binary.Texts("id_token_claims", &c.IDTokenClaims),
		binary.Texts("userinfo_claims", &c.UserInfoClaims),
		binary.Millis("granted_at_ms", &c.GrantedAt),
	}
}

// MarshalBinary returns the record in the form in which a [ConsentStore] may keep it, for
// [ConsentRecord.UnmarshalBinary]. It implements [encoding.BinaryMarshaler]. What
// [Code.MarshalBinary] says of texts, times, sizes, errors and releases holds here too.
func (c ConsentRecord) MarshalBinary() ([]byte, error) {
	return binary.Marshal("consent", c.members())
}

// UnmarshalBinary sets the record to what [ConsentRecord.MarshalBinary] has written, as a
// whole. It implements [encoding.BinaryUnmarshaler]. The record shares no memory with b. What
// [Code.UnmarshalBinary] says of errors holds here too.
func (c *ConsentRecord) UnmarshalBinary(b []byte) error {
	var read ConsentRecord
	if err := binary.Unmarshal("consent", b, read.members()); err != nil {
		return err
	}
	*c = read
	return nil
}

func (c *Client) members() []binary.Member {
	return []binary.Member{
		binary.Text("client_id", &c.ID),
		binary.Text("client_name", &c.Name),
		binary.Flag("public", &c.Public),
		binary.Texts("redirect_uris", &c.RedirectURIs),
		binary.Texts("private_use_schemes", &c.PrivateUseSchemes),
		binary.Text("out_of_band", &c.OutOfBand),
		binary.Flag("default_redirect_uri", &c.DefaultRedirectURI),
		binary.Flag("any_loopback_port", &c.AnyLoopbackPort),
		binary.Texts("scopes", &c.Scopes),
		binary.Texts("default_scopes", &c.DefaultScopes),
		binary.Texts("response_types", &c.ResponseTypes),
		binary.Texts("response_modes", &c.ResponseModes),
		binary.Flag("pkce_optional", &c.PKCEOptional),
		binary.Texts("require", &c.Require),
		binary.Flag("require_pushed", &c.RequirePushed),
		binary.Flag("offline_access", &c.OfflineAccess),
		binary.Flag("first_party", &c.FirstParty),
		binary.Flag("unvetted", &c.Unvetted),
		binary.Flag("disabled", &c.Disabled),
	}
}

// MarshalBinary returns the client in the form in which a [ClientStore] may keep it, for
// [Client.UnmarshalBinary]. It implements [encoding.BinaryMarshaler]. What
// [Code.MarshalBinary] says of texts, sizes and releases holds here too. It does not look at
// what is in the client: see [CheckClient].
func (c Client) MarshalBinary() ([]byte, error) { return binary.Marshal("client", c.members()) }

// UnmarshalBinary sets the client to what [Client.MarshalBinary] has written, as a whole. It
// implements [encoding.BinaryUnmarshaler]. The client shares no memory with b. What
// [Code.UnmarshalBinary] says of errors holds here too.
func (c *Client) UnmarshalBinary(b []byte) error {
	var read Client
	if err := binary.Unmarshal("client", b, read.members()); err != nil {
		return err
	}
	*c = read
	return nil
}
