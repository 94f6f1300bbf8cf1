package sim

import _ "embed"

// Example is a plan to begin with, with comments.
//
//go:embed example.yaml
var Example string
