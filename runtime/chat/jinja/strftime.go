package jinja

import (
	"fmt"
	"strings"
	"time"
)

// clock is the table of strftime's directives in the C locale.
var clock = map[byte]func(t time.Time) string{
	'a': layout("Mon"), 'A': layout("Monday"), 'b': layout("Jan"), 'h': layout("Jan"), 'B': layout("January"),
	'c': layout("Mon Jan _2 15:04:05 2006"), 'x': layout("01/02/06"), 'X': layout("15:04:05"),
	'd': layout("02"), 'e': layout("_2"), 'm': layout("01"), 'y': layout("06"), 'Y': layout("2006"),
	'H': layout("15"), 'I': layout("03"), 'M': layout("04"), 'S': layout("05"), 'p': layout("PM"),
	'D': layout("01/02/06"), 'F': layout("2006-01-02"), 'T': layout("15:04:05"), 'R': layout("15:04"), 'r': layout("03:04:05 PM"),
	'f': func(t time.Time) string { return fmt.Sprintf("%06d", t.Nanosecond()/1000) },
	'j': func(t time.Time) string { return fmt.Sprintf("%03d", t.YearDay()) },
	's': func(t time.Time) string { return fmt.Sprint(t.Unix()) },
	'u': func(t time.Time) string { return fmt.Sprint((int(t.Weekday())+6)%7 + 1) },
	'w': func(t time.Time) string { return fmt.Sprint(int(t.Weekday())) },
	'C': func(t time.Time) string { return fmt.Sprintf("%02d", t.Year()/100) },
	'G': func(t time.Time) string { y, _ := t.ISOWeek(); return fmt.Sprintf("%04d", y) },
	'V': func(t time.Time) string { _, w := t.ISOWeek(); return fmt.Sprintf("%02d", w) },
	'U': func(t time.Time) string { return fmt.Sprintf("%02d", (t.YearDay()+6-int(t.Weekday()))/7) },
	'W': func(t time.Time) string { return fmt.Sprintf("%02d", (t.YearDay()+6-(int(t.Weekday())+6)%7)/7) },
	'k': func(t time.Time) string { return fmt.Sprintf("%2d", t.Hour()) },
	'l': func(t time.Time) string { return fmt.Sprintf("%2d", (t.Hour()+11)%12+1) },
	// The time that Hugging Face passes knows no zone.
	'z': func(time.Time) string { return "" }, 'Z': func(time.Time) string { return "" },
	'n': func(time.Time) string { return "\n" }, 't': func(time.Time) string { return "\t" },
	'%': func(time.Time) string { return "%" },
}

func layout(l string) func(time.Time) string {
	return func(t time.Time) string { return t.Format(l) }
}

// strftime formats the time as C does, with glibc's %-d (no padding), %_d (blanks) and %^a (capitals).
// A directive that is not known stays as it is.
func (r *run) strftime(format string) string {
	b := &buffer{run: r}
	for {
		i := strings.IndexByte(format, '%')
		if i < 0 || i+1 == len(format) {
			b.put(format)
			return b.String()
		}
		b.put(format[:i])
		at, flag := i+1, byte(0)
		if strings.IndexByte("-_0^", format[at]) >= 0 && at+1 < len(format) {
			flag = format[at]
			at++
		}
		f, ok := clock[format[at]]
		if !ok {
			b.put(format[i : at+1])
		} else {
			b.put(flagged(f(r.now), flag))
		}
		format = format[at+1:]
	}
}

func flagged(s string, flag byte) string {
	digits := strings.TrimLeft(s, "0 ")
	if digits == "" && s != "" {
		digits = s[len(s)-1:]
	}
	gap := len(s) - len(digits)
	switch flag {
	case '-':
		return digits
	case '_':
		return strings.Repeat(" ", gap) + digits
	case '0':
		return strings.Repeat("0", gap) + digits
	case '^':
		return strings.ToUpper(s)
	}
	return s
}
