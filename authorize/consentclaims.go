package authorize

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// Claims of the claims parameter that no scope releases need the user's consent, as scopes
// do (OpenID Connect Core 1.0 §5.5).

// claimNames are names of claims for the two places where a request can ask for them, each
// name once, without language tags (§5.2).
type claimNames struct{ idToken, userInfo []string }

// protocolClaims are about the sign-in and not about the user.
var protocolClaims = []string{"sub", "acr", "auth_time"}

// scopeOf names the scope that releases a claim (§5.4).
var scopeOf = map[string]string{
	"name": "profile", "family_name": "profile", "given_name": "profile", "middle_name": "profile",
	"nickname": "profile", "preferred_username": "profile", "profile": "profile", "picture": "profile",
	"website": "profile", "gender": "profile", "birthdate": "profile", "zoneinfo": "profile",
	"locale": "profile", "updated_at": "profile",
	"email": "email", "email_verified": "email",
	"address":      "address",
	"phone_number": "phone", "phone_number_verified": "phone",
}

// claimName returns the name without the language tag.
func claimName(member string) string {
	name, _, _ := strings.Cut(member, "#")
	return name
}

// claimsBeyond returns the requested claims that these scopes do not release. Claims of a
// scope in r.LeftOut are left out too.
func claimsBeyond(r *Request, scopes []string) claimNames {
	if r.Claims == nil {
		return claimNames{}
	}
	names := func(place map[string]json.RawMessage) (beyond []string) {
		seen := map[string]bool{}
		for member := range place {
			name := claimName(member)
			if !slices.Contains(protocolClaims, name) && !slices.Contains(scopes, scopeOf[name]) {
				seen[name] = true
			}
		}
		return slices.Sorted(maps.Keys(seen))
	}
	idToken, userInfo, _ := claimsByPlace(r.Claims) // malformed claims were refused before
	return claimNames{names(idToken), names(userInfo)}.drop(r.LeftOut)
}

// ClaimsBeyondScopes returns the names of the claims in the claims parameter that Scopes do
// not release (OpenID Connect Core 1.0 §5.4), for each of the two places. They are sorted,
// each once, without language tags. It is for the consent page: a user who agrees to all
// Scopes agrees to these claims too. A user who refuses a scope also refuses the claims
// that this scope would have released. Both lists are empty if Scopes release all claims.
func (r *Request) ClaimsBeyondScopes() (idToken, userInfo []string) {
	n := claimsBeyond(r, r.Scopes)
	return n.idToken, n.userInfo
}

// claimsGranted returns the further claims that a user agrees to by granting these scopes:
// all claims that the request asks for, except those that a refused scope would have
// released.
func claimsGranted(r *Request, granted []string) claimNames {
	return claimsBeyond(r, granted).drop(refusedScopes(r, granted))
}

// drop returns n without the claims that the scopes would release.
func (n claimNames) drop(scopes []string) claimNames {
	released := func(name string) bool { return slices.Contains(scopes, scopeOf[name]) }
	return claimNames{
		slices.DeleteFunc(slices.Clone(n.idToken), released),
		slices.DeleteFunc(slices.Clone(n.userInfo), released),
	}
}

// refusedScopes are those that were asked for and are not granted.
func refusedScopes(r *Request, granted []string) []string {
	return slices.DeleteFunc(slices.Concat(r.Scopes, r.LeftOut), func(scope string) bool {
		return slices.Contains(granted, scope)
	})
}

// agreedClaims returns the claims parameter with only the claims that the user agreed to:
// those of its two places, except those that a refused scope would have released. Other
// members are dropped, so that no reader can mistake one for either place.
func agreedClaims(r *Request, granted []string) json.RawMessage {
	idToken, userInfo, err := claimsByPlace(r.Claims)
	if err != nil {
		return nil
	}
	refused := refusedScopes(r, granted)
	agreed := map[string]map[string]json.RawMessage{"id_token": idToken, "userinfo": userInfo}
	for place, members := range agreed {
		for member := range members {
			if slices.Contains(refused, scopeOf[claimName(member)]) {
				delete(members, member)
			}
		}
		if len(members) == 0 {
			delete(agreed, place)
		}
	}
	if len(agreed) == 0 {
		return nil
	}
	text, err := json.Marshal(agreed)
	if err != nil {
		return nil
	}
	return text
}

// hasClaims reports whether the user agreed to all of these claims.
func (c *ConsentRecord) hasClaims(n claimNames) bool {
	return containsAll(c.IDTokenClaims, n.idToken) && containsAll(c.UserInfoClaims, n.userInfo)
}
