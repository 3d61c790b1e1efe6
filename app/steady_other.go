//go:build !linux

package app

import "net"

func takeLess(net.Conn) {}
