package sign

import (
	"pharos/internal/authority/zone"
)

func (s *signing) placeDigests() error                  { return nil }
func (p *Plan) digest(z *zone.Zone) (*zone.Zone, error) { return z, nil }
