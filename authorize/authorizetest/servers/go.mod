module github.com/usher-auth/usher/authorize/authorizetest/servers

go 1.25.0
