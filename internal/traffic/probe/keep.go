package probe

import "pharos/internal/diskfile"

// What is known of the health of members outlives the process, so that a start sends
// nobody to a server that was dead a second ago. It is kept as JSON; a file that cannot
// be read only means that every member is Unknown until its first probe.

// Save writes what is known now to a file.
func (p *Prober) Save(file string) error { return diskfile.SaveJSON(file, p.Snapshot()) }

// Load gives the next Set what the process before has saved.
func (p *Prober) Load(file string) error {
	var known []Known
	if err := diskfile.LoadJSON(file, &known); err != nil {
		return err
	}
	p.Restore(known)
	return nil
}
