package arch

import (
	"fmt"
	"math"
	"strings"
)

// A hyper-parameter is one row: a key of the architecture, where its value
// goes, its range, and what holds when it is absent.
type hparam struct {
	key      string // without the architecture's prefix
	int      *int
	float    *float64
	min, max float64
	def      float64 // NaN: required
}

var required = math.NaN()

// A relation between hyper-parameters that must hold.
type relation struct {
	ok   bool
	text string
}

// read fills the rows' variables and checks their ranges.
func (im *Importer) read(rows []hparam) {
	for _, r := range rows {
		key := im.arch + "." + r.key
		im.allowed = append(im.allowed, key)
		var x float64
		var ok bool
		var err error
		if r.float != nil {
			x, ok, err = im.File.Float(key)
		} else {
			var n int64
			n, ok, err = im.File.Int(key)
			x = float64(n)
		}
		switch {
		case err != nil:
			if im.err == nil {
				im.err = err
			}
			return
		case !ok && math.IsNaN(r.def):
			im.fail("key %s is missing: the file is incomplete", key)
			return
		case !ok:
			x = r.def
		case !(x >= r.min && x <= r.max):
			im.fail("key %s is %v, want %v … %v", key, x, r.min, r.max)
			return
		}
		if r.float != nil {
			*r.float = x
		} else {
			*r.int = int(x)
		}
	}
}

// relate checks relations between hyper-parameters.
func (im *Importer) relate(rows []relation) {
	for _, r := range rows {
		if !r.ok {
			im.fail("the metadata contradicts itself: want %s", r.text)
			return
		}
	}
}

// A neutral key changes the result unless it has one of the given values.
type neutral struct {
	key    string
	values string // separated by spaces; "*" is any: the key changes nothing here
}

// ignore accepts keys whose values make no difference and refuses others.
func (im *Importer) ignore(rows []neutral) {
	for _, r := range rows {
		key := im.arch + "." + r.key
		im.allowed = append(im.allowed, key)
		if !im.File.Has(key) || r.values == "*" {
			continue
		}
		v, _, err := im.File.Value(key)
		if err != nil {
			im.err = err
			return
		}
		ok := false
		for _, w := range strings.Fields(r.values) {
			ok = ok || fmt.Sprint(v) == w
		}
		if !ok {
			im.fail("key %s is %v, which is not handled: only %s", key, v, strings.Join(strings.Fields(r.values), " or "))
			return
		}
	}
}
