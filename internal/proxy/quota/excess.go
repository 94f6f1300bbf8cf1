package quota

// Excess says which bound a client has passed, of those whose passing ends a connection.
type Excess uint8

// The bounds.
const (
	None          Excess = iota
	Settings             // SETTINGS, and settings in them
	Ping                 // PING
	WindowUpdates        // WINDOW_UPDATE
	EmptyFrames          // DATA without content, and others that carry nothing
	OtherFrames          // PRIORITY, unknown ones, and those of a control stream of HTTP/3
	Resets               // requests that the client gives up (Rapid Reset)
	Broken               // requests that the client has us give up (MadeYouReset)
	Refused              // requests above the number that it may have at once
	Continuation         // CONTINUATION
	FieldBlock           // octets of a field block
	Late                 // what is sent for requests that are over
	Unread               // answers that the client does not read
	Slow                 // the time of a frame or a field block
	Excesses             // how many there are
)

func (e Excess) String() string {
	return [Excesses]string{
		"none", "settings", "ping", "window_updates", "empty_frames", "other_frames", "resets", "broken", "refused", "continuation",
		"field_block", "late", "unread", "slow",
	}[e]
}
