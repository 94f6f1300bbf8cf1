package document

import (
	"net/netip"
	"strings"

	"pharos/internal/dns/dnsname"
)

// MaxIdentifier is the longest name of a pool or member, in octets: that of a
// DNS label, so that a name can become one.
const MaxIdentifier = 63

// maxURLPath is the longest path of a route, in octets. Arbitrary; longer
// prefixes are mistakes.
const maxURLPath = 1024

// maxFilePath is the longest file name, in octets: PATH_MAX of Linux.
const maxFilePath = 4096

// format is a rule for text beyond its type. check returns what is wrong,
// as the end of a sentence that begins with the text, or "".
type format struct {
	wanted string
	check  func(text string) string
}

// formats are the values of the tag format.
var formats = map[string]format{
	"identifier": {"1 to 63 letters, digits, \"-\", \"_\" or \".\", beginning and ending with a letter or digit", checkIdentifier},
	"host":       {`a host name like "www.example.com", "*.example.com" for every name below it, or "*" for all`, checkHost},
	"hostname":   {`a host name or an address, like "www.example.com"`, checkHostname},
	"routeHost":  {`a host name, "*.example.com", "*", or "~" and a regular expression`, checkRouteHost},
	"routePath":  {`a path like "/api", "=/exact", "/users/{id}", or "~" and a regular expression`, checkRoutePath},
	"urlPath":    {`a path that begins with "/", like "/api/"`, checkURLPath},
	"file":       {"a file name", checkFile},
	"token":      {"1 to 63 letters, digits or other characters that the name of a field or cookie may have", checkToken},
	"country":    {`a code of two capital letters, like "DE"`, checkCountry},
}

// Fits reports whether a text is as a format wants it. What does not fit has been reported
// when it was read.
func Fits(format, text string) bool { return formats[format].check(text) == "" }

func isAlphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

func checkIdentifier(text string) string {
	if text == "" {
		return "is empty"
	}
	if len(text) > MaxIdentifier {
		return "is longer than 63 characters"
	}
	for i := range len(text) {
		if !isAlphanumeric(text[i]) && (strings.IndexByte("-_.", text[i]) < 0 || i == 0 || i == len(text)-1) {
			return "has a character that cannot stand there"
		}
	}
	return ""
}

// checkHost checks a route's host: RFC 9110 §4.2.3 compares hosts without case,
// so they are written in lower case here; a port is not part of it.
func checkHost(text string) string {
	if text == "*" {
		return ""
	}
	return checkHostname(strings.TrimPrefix(text, "*."))
}

func checkHostname(text string) string {
	if strings.HasPrefix(text, "[") && strings.HasSuffix(text, "]") {
		if a, err := netip.ParseAddr(text[1 : len(text)-1]); err == nil && a.Is6() {
			return ""
		}
		return "is not an IPv6 address in brackets"
	}
	if strings.Contains(text, ":") {
		return "has a colon: a port does not belong here"
	}
	if _, err := dnsname.Parse(text); err != nil {
		return "is not a host name"
	}
	for i := range len(text) {
		switch c := text[i]; {
		case 'A' <= c && c <= 'Z':
			return "has upper-case letters"
		case !isAlphanumeric(c) && strings.IndexByte("-_.", c) < 0:
			return "has a character that no host name has"
		}
	}
	if strings.HasSuffix(text, ".") {
		return "ends with a dot"
	}
	return ""
}

// checkRouteHost checks the form of a host that may be a regular expression, which package
// route compiles.
func checkRouteHost(text string) string {
	if strings.HasPrefix(text, "~") {
		return checkExpression(text)
	}
	return checkHost(text)
}

func checkRoutePath(text string) string {
	if strings.HasPrefix(text, "~") {
		return checkExpression(text)
	}
	return checkURLPath(strings.TrimPrefix(text, "="))
}

func checkExpression(text string) string {
	switch {
	case len(text) > maxURLPath:
		return "is longer than 1024 octets"
	case strings.ContainsFunc(text, func(c rune) bool { return c < ' ' || c == 0x7f }):
		return "has a control character"
	}
	return ""
}

func checkURLPath(text string) string {
	switch {
	case !strings.HasPrefix(text, "/"):
		return `does not begin with "/"`
	case len(text) > maxURLPath:
		return "is longer than 1024 octets"
	}
	for i := range len(text) {
		if c := text[i]; c <= ' ' || c >= 0x7f || c == '?' || c == '#' {
			return "has a character that no path has"
		}
	}
	return ""
}

// checkToken checks the name of a field or cookie (RFC 9110 §5.6.2).
func checkToken(text string) string {
	if text == "" || len(text) > MaxIdentifier {
		return "is empty or longer than 63 characters"
	}
	for i := range len(text) {
		if !isAlphanumeric(text[i]) && strings.IndexByte("!#$%&'*+-.^_`|~", text[i]) < 0 {
			return "has a character that cannot stand there"
		}
	}
	return ""
}

// checkCountry checks the form of a code of ISO 3166-1 alpha-2. Which ones there
// are changes, so that it is not looked up.
func checkCountry(text string) string {
	if len(text) != 2 || text[0] < 'A' || text[0] > 'Z' || text[1] < 'A' || text[1] > 'Z' {
		return "is no code of a country"
	}
	return ""
}

func checkFile(text string) string {
	switch {
	case strings.IndexByte(text, 0) >= 0:
		return "has a NUL octet"
	case len(text) > maxFilePath:
		return "is longer than 4096 octets"
	}
	return ""
}
