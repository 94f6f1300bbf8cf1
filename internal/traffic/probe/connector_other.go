//go:build !linux

package probe

import (
	"net/netip"
	"syscall"
)

// connector is for Linux only; elsewhere package net makes all connections.
type connector struct{}

const errPending = syscall.EINPROGRESS

func newConnector(func(*target, syscall.Errno)) *connector { return nil }

func (c *connector) takes(netip.AddrPort) bool   { return false }
func (c *connector) start(*target) syscall.Errno { return syscall.ENOSYS }
func (c *connector) abandon(*target) bool        { return false }
func (c *connector) poll()                       {}
func (c *connector) close()                      {}
