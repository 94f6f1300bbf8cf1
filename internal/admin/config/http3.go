package config

// GatewayHTTP3 is about HTTP/3 from clients.
type GatewayHTTP3 struct {
	// Enabled has the gateway take HTTP/3, over UDP at the addresses and ports of
	// listen.https, with the same certificates.
	Enabled bool `json:"enabled" default:"false" example:"true"`
	// AltSvc is what clients that come over TLS are told of HTTP/3 (RFC 7838): "announce" is
	// that it is here, if enabled, "clear" that they are to forget what they were told, and
	// "off" is nothing; then responses keep the field as origin servers have sent it.
	AltSvc string `json:"altSvc" enum:"announce,clear,off" default:"announce" example:"clear"`
	// AltSvcMaxAge is how long clients remember it, who then begin with HTTP/3.
	AltSvcMaxAge Duration `json:"altSvcMaxAge" default:"24h" min:"1s" max:"8760h" example:"1h"`
	// Streams is how many requests one connection may have under way at once. A request
	// counts until the gateway is done with it, also when the client has given it up.
	Streams int `json:"streams" default:"128" min:"1" max:"100000" example:"32"`
	// Resets is how many requests in a burst a client may give up, or lose because it broke
	// the rules; a tenth of it comes back each second, and one with each request that is
	// answered. Beyond it the connection ends with H3_EXCESSIVE_LOAD.
	Resets int `json:"resets" default:"200" min:"10" max:"1000000" example:"1000"`
	// StreamWindow is how much content of one request may wait for its origin server.
	StreamWindow Size `json:"streamWindow" default:"64KiB" min:"16KiB" max:"16MiB" example:"1MiB"`
	// Window is the same for all requests of one connection together.
	Window Size `json:"window" default:"256KiB" min:"64KiB" max:"64MiB" example:"4MiB"`
	// PerClient is how many connections one address may have, /64 of IPv6.
	PerClient int `json:"perClient" default:"256" min:"1" max:"10000000" example:"32"`
}
