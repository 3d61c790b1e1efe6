module doorward/bench

go 1.26.0

require (
	doorward v0.0.0
	github.com/golang-jwt/jwt/v5 v5.3.1
)

require (
	golang.org/x/crypto v0.58.0 // indirect
	golang.org/x/sys v0.50.0 // indirect
)

replace doorward => ../
