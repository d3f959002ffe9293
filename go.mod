module github.com/usher-auth/usher

go 1.25.0

require (
	github.com/google/go-cmp v0.7.0
	github.com/lestrrat-go/jwx/v2 v2.1.7
)
