package api

import (
	"html/template"
	"net/http"
	"time"
)

// page shows the node to people: what is wrong first, then who serves.
func (c Calls) page(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Refresh", "2")
	err := pageTemplate.Execute(w, map[string]any{"Status": c.Status(), "Pools": c.Pools(), "Zones": c.Zones(), "Now": time.Now()})
	if err != nil { // the client went away, or the template is wrong: the tests see the latter
		return
	}
}

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
	"ago": func(now, then time.Time) string {
		if then.IsZero() {
			return ""
		}
		return now.Sub(then).Round(time.Second).String()
	},
}).Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Pharos</title><meta name="viewport" content="width=device-width">
<style>
 :root { color-scheme: light dark }
 body { font: 15px/1.45 system-ui, sans-serif; max-width: 62rem; margin: 1.5rem auto; padding: 0 1rem }
 h1 { font-size: 1.4rem; margin: 0 } h2 { font-size: 1.05rem; margin: 1.6rem 0 .3rem }
 table { border-collapse: collapse; width: 100% } td, th { text-align: left; padding: .25rem .7rem .25rem 0; border-bottom: 1px solid #8884; vertical-align: top }
 th { font-weight: 600; font-size: .85rem; opacity: .75 } .n { text-align: right }
 .up { color: #18794e } .down { color: #cd2b31; font-weight: 600 } .draining, .unknown { color: #ad5700 }
 .problem { border-left: .3rem solid #cd2b31; padding: .3rem .7rem; margin: .4rem 0; background: #cd2b3114 }
 .warning { border-color: #ad5700; background: #ad570014 } small { opacity: .75 }
</style></head><body>
<h1>Pharos</h1>
<small>{{.Status.Version}} &middot; up {{ago .Now .Status.Started}} &middot; snapshot {{.Status.Revision}} &middot; store {{.Status.Store}}{{range .Status.Listeners}} &middot; {{.}}{{end}}</small>
{{range .Status.Problems}}<div class="problem {{.Severity}}"><b>{{.Code}}</b> {{.Text}} <small>for {{ago $.Now .Since}}</small></div>{{else}}<p class="up">No problems.</p>{{end}}
{{range .Pools}}<h2>Pool {{.Name}} <small>{{.Policy}}, check {{.Check}}{{if .AllDown}}, <span class="down">all down: everybody serves</span>{{end}}</small></h2>
<table><tr><th>member<th>address<th class="n">weight<th>state<th>for<th>cause</tr>
{{range .Members}}<tr><td>{{.Name}}<td>{{.Address}}<td class="n">{{.Weight}}<td class="{{.State}}">{{.State}}{{if not .Eligible}} (not served){{end}}<td>{{ago $.Now .Since}}<td>{{.Cause}}</tr>
{{end}}</table>{{end}}
{{with .Zones}}<h2>Zones</h2><table><tr><th>zone<th class="n">serial<th class="n">names<th class="n">records<th>from<th></tr>
{{range .}}<tr><td>{{.Name}}<td class="n">{{.Serial}}<td class="n">{{.Names}}<td class="n">{{.Records}}<td>{{with .Secondary}}secondary{{if .From}} of {{.From}}{{end}}{{else}}{{.File}}{{end}}<td class="down">{{.Problem}}</tr>
{{end}}</table>{{end}}
<p><small><a href="/api/status">status</a> &middot; <a href="/api/pools">pools</a> &middot; <a href="/api/zones">zones</a> &middot; <a href="/metrics">metrics</a> &middot; why: <code>pharos explain NAME</code></small></p>
</body></html>
`))
