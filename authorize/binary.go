package authorize

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"
)

// Codes, consents and clients are written as JSON, with the names of these tags. Each type
// is converted to the struct with its tags, so a field that is missing here does not
// compile.
//
// Replicas of two releases share a store. A name and its meaning therefore stay for ever,
// and a release ignores members that it does not know. That is right for a new field if a
// release that ignores it grants no more than was written. It is wrong for a field such as
// a key that the code is bound to. A record with such a field gets the next version,
// latestVersion rises to it, and earlier releases refuse the record.
const latestVersion = 1

type recordHeader struct {
	Type    string `json:"type"`
	Version int    `json:"version"`
}

type codeMembers struct {
	ClientID         string            `json:"client_id,omitempty"`
	RedirectURI      string            `json:"redirect_uri,omitempty"`
	RedirectURISent  bool              `json:"redirect_uri_sent,omitempty"`
	Challenge        string            `json:"code_challenge,omitempty"`
	Scopes           []string          `json:"scopes,omitzero"`
	Resources        []string          `json:"resources,omitzero"`
	GrantedResources []string          `json:"granted_resources,omitzero"`
	GrantID          string            `json:"grant_id,omitempty"`
	Subject          string            `json:"sub,omitempty"`
	AuthTime         time.Time         `json:"auth_time,omitzero"`
	ACR              string            `json:"acr,omitempty"`
	AMR              []string          `json:"amr,omitzero"`
	Nonce            string            `json:"nonce,omitempty"`
	Claims           json.RawMessage   `json:"-"` // see codeRecord
	Parameters       map[string]string `json:"parameters,omitzero"`
	SessionID        string            `json:"session_id,omitempty"`
	SessionData      []byte            `json:"session_data,omitzero"`
	GrantData        []byte            `json:"grant_data,omitzero"`
	IssuedAt         time.Time         `json:"issued_at,omitzero"`
	ExpiresAt        time.Time         `json:"expires_at,omitzero"`
	UsedAt           time.Time         `json:"used_at,omitzero"`
}

// codeRecord has the claims as bytes, because JSON inside JSON would not keep every byte.
type codeRecord struct {
	recordHeader
	codeMembers
	Claims []byte `json:"claims,omitzero"`
}

type consentRecord struct {
	recordHeader
	consentMembers
}

type consentMembers struct {
	Subject        string    `json:"sub,omitempty"`
	ClientID       string    `json:"client_id,omitempty"`
	Scopes         []string  `json:"scopes,omitzero"`
	Resources      []string  `json:"resources,omitzero"`
	IDTokenClaims  []string  `json:"id_token_claims,omitzero"`
	UserInfoClaims []string  `json:"userinfo_claims,omitzero"`
	RefusedScopes  []string  `json:"refused_scopes,omitzero"`
	Data           []byte    `json:"data,omitzero"`
	Revision       string    `json:"revision,omitempty"`
	GrantedAt      time.Time `json:"granted_at,omitzero"`
}

type clientRecord struct {
	recordHeader
	clientMembers
}

type clientMembers struct {
	ID                 string   `json:"client_id,omitempty"`
	Name               string   `json:"client_name,omitempty"`
	Public             bool     `json:"public,omitempty"`
	RedirectURIs       []string `json:"redirect_uris,omitzero"`
	PrivateUseSchemes  []string `json:"private_use_schemes,omitzero"`
	OutOfBand          string   `json:"out_of_band,omitempty"`
	DefaultRedirectURI bool     `json:"default_redirect_uri,omitempty"`
	AnyLoopbackPort    bool     `json:"any_loopback_port,omitempty"`
	Scopes             []string `json:"scopes,omitzero"`
	DefaultScopes      []string `json:"default_scopes,omitzero"`
	ResponseTypes      []string `json:"response_types,omitzero"`
	ResponseModes      []string `json:"response_modes,omitzero"`
	ReturnPage         bool     `json:"return_page,omitempty"`
	PKCEOptional       bool     `json:"pkce_optional,omitempty"`
	Require            []string `json:"require,omitzero"`
	RequirePushed      bool     `json:"require_pushed,omitempty"`
	OfflineAccess      bool     `json:"offline_access,omitempty"`
	FirstParty         bool     `json:"first_party,omitempty"`
	Unvetted           bool     `json:"unvetted,omitempty"`
	Revision           string   `json:"revision,omitempty"`
	Disabled           bool     `json:"disabled,omitempty"`
}

// MarshalBinary returns the code in the format in which a [CodeStore] may keep it: a JSON
// object with every field that is set. [Code.UnmarshalBinary] reads it. It implements
// [encoding.BinaryMarshaler].
//
// Nil and empty stay different. A text keeps its bytes: a text that is not UTF-8, or has a
// "%", is percent-encoded. Times are in UTC; a time after the year 9999 is an error. The
// size is not limited.
//
// A later release reads every record of an earlier one. An earlier release reads a record
// of a later one, without the fields that it does not know. If that would grant more than
// was written, the record has a version that the earlier release refuses.
func (c Code) MarshalBinary() ([]byte, error) {
	code := c.Clone()
	code.eachText(escape)
	for _, t := range []*time.Time{&code.AuthTime, &code.IssuedAt, &code.ExpiresAt, &code.UsedAt} {
		*t = t.UTC()
	}
	return writeRecord(codeRecord{recordHeader{"code", 1}, codeMembers(*code), code.Claims})
}

// UnmarshalBinary replaces the whole code by what [Code.MarshalBinary] has written. It
// implements [encoding.BinaryUnmarshaler]. The code shares no memory with b.
//
// A store that keeps UsedAt beside the record, because TakeCode changes it, sets it after
// reading. Write each record only once: an earlier release that writes a record of a later
// one again loses the fields that only the later one knows.
//
// Other bytes, a part of a record, and a record of another type or of a later version are
// an error, and c stays as it was. Members that this release does not know are ignored.
// There is no protection against somebody who can write to the store.
func (c *Code) UnmarshalBinary(b []byte) error {
	var read codeRecord
	if err := readRecord(b, "code", &read, &read.recordHeader); err != nil {
		return err
	}
	code := Code(read.codeMembers)
	code.Claims = read.Claims
	if err := unescape(code.eachText); err != nil {
		return err
	}
	*c = code
	return nil
}

// MarshalBinary returns the record in the format in which a [ConsentStore] may keep it, for
// [ConsentRecord.UnmarshalBinary]. It implements [encoding.BinaryMarshaler]. Texts, times,
// sizes and releases are as in [Code.MarshalBinary].
func (c ConsentRecord) MarshalBinary() ([]byte, error) {
	consent := c.Clone()
	consent.eachText(escape)
	consent.GrantedAt = consent.GrantedAt.UTC()
	return writeRecord(consentRecord{recordHeader{"consent", 1}, consentMembers(*consent)})
}

// UnmarshalBinary replaces the whole record by what [ConsentRecord.MarshalBinary] has
// written. It implements [encoding.BinaryUnmarshaler]. The record shares no memory with b.
// The errors are as in [Code.UnmarshalBinary].
func (c *ConsentRecord) UnmarshalBinary(b []byte) error {
	var read consentRecord
	if err := readRecord(b, "consent", &read, &read.recordHeader); err != nil {
		return err
	}
	consent := ConsentRecord(read.consentMembers)
	if err := unescape(consent.eachText); err != nil {
		return err
	}
	*c = consent
	return nil
}

// MarshalBinary returns the client in the format in which a [ClientStore] may keep it, for
// [Client.UnmarshalBinary]. It implements [encoding.BinaryMarshaler]. Texts, sizes and
// releases are as in [Code.MarshalBinary]. It does not check the client: see [CheckClient].
func (c Client) MarshalBinary() ([]byte, error) {
	client := c.clone()
	client.eachText(escape)
	return writeRecord(clientRecord{recordHeader{"client", 1}, clientMembers(*client)})
}

// UnmarshalBinary replaces the whole client by what [Client.MarshalBinary] has written. It
// implements [encoding.BinaryUnmarshaler]. The client shares no memory with b. The errors
// are as in [Code.UnmarshalBinary].
func (c *Client) UnmarshalBinary(b []byte) error {
	var read clientRecord
	if err := readRecord(b, "client", &read, &read.recordHeader); err != nil {
		return err
	}
	client := Client(read.clientMembers)
	if err := unescape(client.eachText); err != nil {
		return err
	}
	*c = client
	return nil
}

func writeRecord(record any) ([]byte, error) {
	b, err := json.Marshal(record)
	if err != nil {
		return nil, fmt.Errorf("authorize: the record cannot be written: %w", err)
	}
	return b, nil
}

// readRecord reads the bytes into record, which must be of this type. header is the
// record's own header.
func readRecord(b []byte, recordType string, record any, header *recordHeader) error {
	err := json.Unmarshal(b, record)
	switch {
	case err != nil:
	case !utf8.Valid(b):
		err = errors.New("it is not UTF-8")
	case header.Type != recordType:
		err = fmt.Errorf("its type is %.40q: is another record under this key?", header.Type)
	case header.Version < 1 || header.Version > latestVersion:
		err = fmt.Errorf("it has version %d, and this release reads versions up to %d: a later "+
			"release wrote it, with a field that must not be ignored", header.Version, latestVersion)
	default:
		return nil
	}
	return fmt.Errorf("authorize: the record of a %s cannot be read: %w", recordType, err)
}

// escape returns the text in a form that JSON can hold: JSON has UTF-8 only, and a text can
// have any bytes.
func escape(text string) string {
	if utf8.ValidString(text) && !strings.Contains(text, "%") {
		return text
	}
	return url.PathEscape(text)
}

// unescape reverses escape for each text of a record.
func unescape(eachText func(func(string) string)) (err error) {
	eachText(func(text string) string {
		plain, wrong := url.PathUnescape(text)
		err = errors.Join(err, wrong)
		return plain
	})
	return err
}
