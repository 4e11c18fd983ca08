package arch

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"qnc/runtime/gguf"
)

// A hparam is one hyper-parameter: a key of the architecture, where its value
// goes, its range, and what holds when it is absent.
type hparam struct {
	key      string // without the architecture's prefix
	int      *int
	float    *float64
	min, max float64
	def      float64 // NaN: required
	blocks   *int    // not nil: an array with a value for each of so many blocks is accepted too
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
		x, ok, err := im.number(key, &r)
		switch {
		case err != nil:
			im.failWith(err)
			return
		case !ok && math.IsNaN(r.def):
			im.fail("key %s is missing: the file is incomplete: convert the model again", key)
			return
		case !ok:
			x = r.def
		case !(x >= r.min && x <= r.max):
			im.fail("key %s is %v, want %v … %v: the file is damaged or of another variant", key, x, r.min, r.max)
			return
		}
		if r.float != nil {
			*r.float = x
		} else {
			*r.int = int(x)
		}
	}
}

// number reads a row's value.
func (im *Importer) number(key string, r *hparam) (x float64, ok bool, err error) {
	if r.float != nil {
		return im.File.Float(key)
	}
	if kind, _, _ := im.File.Kind(key); kind != gguf.KindArray || r.blocks == nil {
		n, ok, err := im.File.Int(key)
		return float64(n), ok, err
	}
	list, _, err := im.File.Ints(key)
	if err != nil {
		return 0, true, err
	}
	n, err := im.perBlock(key, list, *r.blocks)
	return float64(n), true, err
}

// perBlock is what the entries of a list with one for each block agree on. A
// block that has none of the thing, as a delta net has no key-value heads, says 0.
func (im *Importer) perBlock(key string, list []int64, blocks int) (int64, error) {
	if len(list) != blocks {
		return 0, im.errorf("key %s has %d entries for %d blocks: the file is damaged", key, len(list), blocks)
	}
	n := slices.Max(list)
	for i, x := range list {
		if x != n && x != 0 {
			return 0, im.errorf("key %s is %d for block %d and %d for another: blocks that differ are not handled", key, x, i, n)
		}
	}
	return n, nil
}

// relate checks relations between hyper-parameters.
func (im *Importer) relate(rows []relation) {
	for _, r := range rows {
		if !r.ok {
			im.fail("the metadata contradicts itself: want %s: convert the model again", r.text)
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
			im.failWith(err)
			return
		}
		ok := false
		for _, w := range strings.Fields(r.values) {
			ok = ok || fmt.Sprint(v) == w
		}
		if !ok {
			im.fail("key %s is %v, which is not handled: only %s is", key, v, strings.Join(strings.Fields(r.values), " or "))
			return
		}
	}
}
