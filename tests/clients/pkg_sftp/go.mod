module example.org/pkg-sftp-client

go 1.23.0

require (
	github.com/pkg/sftp v1.13.9
	golang.org/x/crypto v0.31.0
)

require (
	github.com/kr/fs v0.1.0 // indirect
	golang.org/x/sys v0.28.0 // indirect
)
