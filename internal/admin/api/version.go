package api

import "runtime/debug"

// Version returns the version of the program as its build has recorded it: of a
// release, or of the commit it was built from.
func Version() string {
	build, ok := debug.ReadBuildInfo()
	if !ok || build.Main.Version == "" {
		return "(devel)"
	}
	return build.Main.Version
}
