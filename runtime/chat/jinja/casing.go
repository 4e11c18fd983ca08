package jinja

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// longUpper are the letters whose capital is more than one letter, longTitle those whose title form
// is another one again (Unicode's SpecialCasing).
var longUpper = map[rune]string{
	'\u00df': "SS", '\u0149': "\u02bcN", '\u01f0': "J\u030c", '\u0390': "\u0399\u0308\u0301", '\u03b0': "\u03a5\u0308\u0301", '\u0587': "\u0535\u0552",
	'\u1e96': "H\u0331", '\u1e97': "T\u0308", '\u1e98': "W\u030a", '\u1e99': "Y\u030a", '\u1e9a': "A\u02be", '\u1f50': "\u03a5\u0313",
	'\u1f52': "\u03a5\u0313\u0300", '\u1f54': "\u03a5\u0313\u0301", '\u1f56': "\u03a5\u0313\u0342", '\u1f80': "\u1f08\u0399", '\u1f81': "\u1f09\u0399", '\u1f82': "\u1f0a\u0399",
	'\u1f83': "\u1f0b\u0399", '\u1f84': "\u1f0c\u0399", '\u1f85': "\u1f0d\u0399", '\u1f86': "\u1f0e\u0399", '\u1f87': "\u1f0f\u0399", '\u1f88': "\u1f08\u0399",
	'\u1f89': "\u1f09\u0399", '\u1f8a': "\u1f0a\u0399", '\u1f8b': "\u1f0b\u0399", '\u1f8c': "\u1f0c\u0399", '\u1f8d': "\u1f0d\u0399", '\u1f8e': "\u1f0e\u0399",
	'\u1f8f': "\u1f0f\u0399", '\u1f90': "\u1f28\u0399", '\u1f91': "\u1f29\u0399", '\u1f92': "\u1f2a\u0399", '\u1f93': "\u1f2b\u0399", '\u1f94': "\u1f2c\u0399",
	'\u1f95': "\u1f2d\u0399", '\u1f96': "\u1f2e\u0399", '\u1f97': "\u1f2f\u0399", '\u1f98': "\u1f28\u0399", '\u1f99': "\u1f29\u0399", '\u1f9a': "\u1f2a\u0399",
	'\u1f9b': "\u1f2b\u0399", '\u1f9c': "\u1f2c\u0399", '\u1f9d': "\u1f2d\u0399", '\u1f9e': "\u1f2e\u0399", '\u1f9f': "\u1f2f\u0399", '\u1fa0': "\u1f68\u0399",
	'\u1fa1': "\u1f69\u0399", '\u1fa2': "\u1f6a\u0399", '\u1fa3': "\u1f6b\u0399", '\u1fa4': "\u1f6c\u0399", '\u1fa5': "\u1f6d\u0399", '\u1fa6': "\u1f6e\u0399",
	'\u1fa7': "\u1f6f\u0399", '\u1fa8': "\u1f68\u0399", '\u1fa9': "\u1f69\u0399", '\u1faa': "\u1f6a\u0399", '\u1fab': "\u1f6b\u0399", '\u1fac': "\u1f6c\u0399",
	'\u1fad': "\u1f6d\u0399", '\u1fae': "\u1f6e\u0399", '\u1faf': "\u1f6f\u0399", '\u1fb2': "\u1fba\u0399", '\u1fb3': "\u0391\u0399", '\u1fb4': "\u0386\u0399",
	'\u1fb6': "\u0391\u0342", '\u1fb7': "\u0391\u0342\u0399", '\u1fbc': "\u0391\u0399", '\u1fc2': "\u1fca\u0399", '\u1fc3': "\u0397\u0399", '\u1fc4': "\u0389\u0399",
	'\u1fc6': "\u0397\u0342", '\u1fc7': "\u0397\u0342\u0399", '\u1fcc': "\u0397\u0399", '\u1fd2': "\u0399\u0308\u0300", '\u1fd3': "\u0399\u0308\u0301", '\u1fd6': "\u0399\u0342",
	'\u1fd7': "\u0399\u0308\u0342", '\u1fe2': "\u03a5\u0308\u0300", '\u1fe3': "\u03a5\u0308\u0301", '\u1fe4': "\u03a1\u0313", '\u1fe6': "\u03a5\u0342", '\u1fe7': "\u03a5\u0308\u0342",
	'\u1ff2': "\u1ffa\u0399", '\u1ff3': "\u03a9\u0399", '\u1ff4': "\u038f\u0399", '\u1ff6': "\u03a9\u0342", '\u1ff7': "\u03a9\u0342\u0399", '\u1ffc': "\u03a9\u0399",
	'\ufb00': "FF", '\ufb01': "FI", '\ufb02': "FL", '\ufb03': "FFI", '\ufb04': "FFL", '\ufb05': "ST",
	'\ufb06': "ST", '\ufb13': "\u0544\u0546", '\ufb14': "\u0544\u0535", '\ufb15': "\u0544\u053b", '\ufb16': "\u054e\u0546", '\ufb17': "\u0544\u053d",
}

var longTitle = map[rune]string{
	'\u00df': "Ss", '\u0587': "\u0535\u0582", '\u1fb2': "\u1fba\u0345", '\u1fb4': "\u0386\u0345", '\u1fb7': "\u0391\u0342\u0345", '\u1fc2': "\u1fca\u0345",
	'\u1fc4': "\u0389\u0345", '\u1fc7': "\u0397\u0342\u0345", '\u1ff2': "\u1ffa\u0345", '\u1ff4': "\u038f\u0345", '\u1ff7': "\u03a9\u0342\u0345", '\ufb00': "Ff",
	'\ufb01': "Fi", '\ufb02': "Fl", '\ufb03': "Ffi", '\ufb04': "Ffl", '\ufb05': "St", '\ufb06': "St",
	'\ufb13': "\u0544\u0576", '\ufb14': "\u0544\u0565", '\ufb15': "\u0544\u056b", '\ufb16': "\u054e\u0576", '\ufb17': "\u0544\u056d",
}

func upperRune(b *strings.Builder, c rune) {
	if s, ok := longUpper[c]; ok {
		b.WriteString(s)
		return
	}
	b.WriteRune(unicode.ToUpper(c))
}

func titleRune(b *strings.Builder, c rune) {
	if s, ok := longTitle[c]; ok {
		b.WriteString(s)
		return
	}
	if s, ok := longUpper[c]; ok {
		b.WriteString(s)
		return
	}
	b.WriteRune(unicode.ToTitle(c))
}

// lowerRune writes the small form of the letter at s[i:], which for a capital sigma depends on what
// stands around it.
func lowerRune(b *strings.Builder, s string, i int, c rune) {
	switch {
	case c == '\u0130':
		b.WriteString("i\u0307")
	case c == '\u03a3' && finalSigma(s, i):
		b.WriteRune('\u03c2')
	default:
		b.WriteRune(unicode.ToLower(c))
	}
}

// finalSigma tells whether the sigma at s[i:] ends a word.
func finalSigma(s string, i int) bool {
	ignored := func(c rune) bool {
		return unicode.In(c, unicode.Mn, unicode.Me, unicode.Cf, unicode.Lm, unicode.Sk) || strings.ContainsRune("'.:\u00b7\u2019", c)
	}
	before := strings.TrimRightFunc(s[:i], ignored)
	after := strings.TrimLeftFunc(s[i+len("\u03a3"):], ignored)
	last, _ := utf8.DecodeLastRuneInString(before)
	next, _ := utf8.DecodeRuneInString(after)
	return isCased(last) && !isCased(next)
}

func upper(s string) string {
	var b strings.Builder
	for _, c := range s {
		upperRune(&b, c)
	}
	return b.String()
}

func lower(s string) string {
	var b strings.Builder
	for i, c := range s {
		lowerRune(&b, s, i, c)
	}
	return b.String()
}

// capitalize is str.capitalize: the first letter in title form, the others small.
func capitalize(s string) string {
	var b strings.Builder
	for i, c := range s {
		if i == 0 {
			titleRune(&b, c)
		} else {
			lowerRune(&b, s, i, c)
		}
	}
	return b.String()
}

// title is str.title: every letter after something that is no letter in title form.
func title(s string) string {
	var b strings.Builder
	word := false
	for i, c := range s {
		if word {
			lowerRune(&b, s, i, c)
		} else {
			titleRune(&b, c)
		}
		word = isCased(c)
	}
	return b.String()
}

func swapCase(s string) string {
	var b strings.Builder
	for i, c := range s {
		switch {
		case unicode.IsUpper(c):
			lowerRune(&b, s, i, c)
		case unicode.IsLower(c):
			upperRune(&b, c)
		default:
			b.WriteRune(c)
		}
	}
	return b.String()
}
