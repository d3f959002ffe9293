package authorizetest

import (
	"testing"
)

func TestRedact(t *testing.T) {
	const jwt = "eyJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJ4In0.c2ln-_"
	for _, tt := range []struct{ rule, text, want string }{
		{"a waiting request in an address", "https://as.example/login?req=" + jwt, "https://as.example/login?req=…"},
		{"what stands after it", "/login?a=1&req=x.y.z&b=2#c", "/login?a=1&req=…&b=2#c"},
		{"all parameters of an answer", "https://w.example/cb?code=a%2Bb&state=c,d;e:f&iss=https://as.example", "https://w.example/cb?code=…&state=…&iss=https://as.example"},
		{"a fragment", "https://w.example/cb#code=a&state=b", "https://w.example/cb#code=…&state=…"},
		{"an encoded form", "code=a&code_verifier=b&client_secret=c&grant_type=d", "code=…&code_verifier=…&client_secret=…&grant_type=d"},
		{"an address in an address", "/go?to=%2Fauthorize%3freq%3Da.b.c%26deny%3D1&x=1", "/go?to=%2Fauthorize%3freq%3D…&x=1"},
		{"an address that is quoted", `parse "https://w.example/cb?state=a": bad`, `parse "https://w.example/cb?state=…": bad`},
		{"addresses in a sentence", "at /a?req=b, /c?req=d: 200", "at /a?req=…, /c?req=…: 200"},
		{"a link", `<a href="/cb?x=1&amp;code=a">state</a>`, `<a href="/cb?x=1&amp;code=…">state</a>`},
		{"a hidden field", `<input type="hidden" name="state" value="a&quot; > b">`, `<input type="hidden" name="state" value="…">`},
		{"a hidden field without quotes", `<INPUT value=a name=CODE>`, `<INPUT value="…" name=CODE>`},
		{"a hidden field in single quotes", `<input value = 'a>b' name='req'>`, `<input value = "…" name='req'>`},
		{"a field of another name", `<input name="promo_code" value="a">`, `<input name="promo_code" value="a">`},
		{"JSON", `{"code": "a\"b", "state":"c", "error":"d"}`, `{"code": "…", "state":"…", "error":"d"}`},
		{"a JWT anywhere", "var r = '" + jwt + "';", "var r = '…';"},
		{"names that only end alike", "error_code=1&xstate=2&status-code=3", "error_code=1&xstate=2&status-code=3"},
		{"an empty value", "/cb?code=&state=", "/cb?code=&state="},
		{"a password", "https://u:p@as.example/a@b:c", "https://u:…@as.example/a@b:c"},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			if got := redact(tt.text); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			if once := redact(tt.want); once != tt.want {
				t.Errorf("redacted once more it is %s", once)
			}
		})
	}
}
