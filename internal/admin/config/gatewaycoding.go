package config

import "pharos/internal/proxy/compress"

// Compression compresses content of responses for clients that take it (Accept-Encoding).
// What is compressed already, is a part of something (206), says "no-transform" or has a
// digest goes as it is. routes[].uncompressed leaves routes out.
type Compression struct {
	// Codings are those that are offered, the one that is liked best first: zstd, br and
	// gzip. Clients that like another one of them better get that. Empty: nothing is
	// compressed.
	Codings []string `json:"codings" default:"" max:"3" example:"zstd, br, gzip"`
	// Types are the media types of content that is compressed; "*" stands for anything at the
	// beginning of what is behind the slash. Empty: text/*, application/json,
	// application/javascript, application/xml, application/*+json, application/*+xml,
	// image/svg+xml, application/wasm, font/ttf and font/otf. gRPC never is.
	Types []string `json:"types" default:"" max:"100" example:"text/*, application/*+json"`
	// Least is the least content that is compressed, if its length is known.
	Least Size `json:"least" default:"1KiB" min:"0" example:"4KiB"`
	// Secrets has responses compressed, too, that set cookies, or to requests with
	// Authorization. Who can have a part of such a response be what he likes, and sees how
	// long it is, can guess the rest (BREACH).
	Secrets bool `json:"secrets" default:"false" example:"true"`
	// Gzip is how hard gzip tries.
	Gzip int `json:"gzip" default:"5" min:"1" max:"9" example:"6"`
	// Brotli is how hard br tries. From 6 on it takes more time than it saves on most ways.
	Brotli int `json:"brotli" default:"4" min:"0" max:"11" example:"5"`
	// Zstd is how hard zstd tries.
	Zstd int `json:"zstd" default:"2" min:"1" max:"4" example:"3"`
	// Encoders is how many responses are compressed at a time; each takes one to two MiB
	// at most. At the limit responses go as they are.
	Encoders int `json:"encoders" default:"256" min:"1" max:"100000" example:"64"`
}

// Rules returns what is compressed.
func (z *Compression) Rules() (*compress.Rules, error) {
	return compress.Parse(z.Codings, int64(z.Least), z.Types, z.Secrets)
}

func (c *Config) checkCompression(to *checker) {
	if _, err := c.Gateway.Compression.Rules(); err != nil {
		to.fail("gateway.compression", err.Error(), "correct it")
	}
}
