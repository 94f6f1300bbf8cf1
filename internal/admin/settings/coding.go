package settings

import (
	"fmt"

	"pharos/internal/admin/config"
	"pharos/internal/proxy/encoders"
	"pharos/internal/proxy/httpproxy"
)

// Compression returns what is compressed on the way to clients; nil: nothing is.
func Compression(z config.Compression) (*httpproxy.Compression, error) {
	if len(z.Codings) == 0 {
		return nil, nil
	}
	rules, err := z.Rules()
	if err != nil {
		return nil, fmt.Errorf("gateway.compression: %w", err)
	}
	set, err := encoders.New(encoders.Levels{Gzip: z.Gzip, Brotli: z.Brotli, Zstd: z.Zstd}, z.Encoders)
	if err != nil {
		return nil, fmt.Errorf("gateway.compression: %w", err)
	}
	return &httpproxy.Compression{Rules: rules, Encoders: set}, nil
}
