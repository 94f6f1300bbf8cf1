package config

// GatewayHTTP2 bounds connections of HTTP/2 from clients.
type GatewayHTTP2 struct {
	// Clear is what connections without TLS may speak: "on" is HTTP/1.1 and, if the client
	// begins with its preface (prior knowledge), HTTP/2; "off" is HTTP/1.1 only, "only" is
	// HTTP/2 only.
	Clear string `json:"clear" enum:"on,off,only" default:"on" example:"off"`
	// Streams is how many requests one connection may have under way at once. A request
	// counts until the gateway is done with it, also when the client has given it up.
	Streams int `json:"streams" default:"128" min:"1" max:"100000" example:"32"`
	// Resets is how many requests in a burst a client may give up, or lose because it broke
	// the rules; a tenth of it comes back each second, and one with each request that is
	// answered. Beyond it the connection ends with ENHANCE_YOUR_CALM.
	Resets int `json:"resets" default:"200" min:"10" max:"1000000" example:"1000"`
	// StreamWindow is how much content of one request may wait for its origin server.
	StreamWindow Size `json:"streamWindow" default:"64KiB" min:"16KiB" max:"16MiB" example:"1MiB"`
	// Window is the same for all requests of one connection together.
	Window Size `json:"window" default:"256KiB" min:"64KiB" max:"64MiB" example:"4MiB"`
	// Ping is after how long without an octet a client with requests under way is asked for
	// a sign of life; without one its connection is closed 15s later.
	Ping Duration `json:"ping" default:"30s" min:"1s" max:"1h" example:"10s"`
}
