package clientmeta

import (
	"strings"
	"unicode"
)

// MaxName is the longest name that CleanName returns, in characters.
const MaxName = 80

// CleanName returns a name for a page: on one line, without characters that are invisible
// or that change the direction of what stands beside them, and cut with an ellipsis where it
// is longer than MaxName. It may be empty then. It still has to be escaped, and it still
// says what the client likes.
func CleanName(name string) string {
	var clean []rune
	for word := range strings.FieldsSeq(strings.ToValidUTF8(name, "")) {
		visible := strings.Map(func(r rune) rune {
			if unicode.In(r, invisible...) || r == blankBraille {
				return -1
			}
			return r
		}, word)
		if visible == "" {
			continue
		}
		if len(clean) > 0 {
			clean = append(clean, ' ')
		}
		clean = append(clean, []rune(visible)...)
	}
	if len(clean) > MaxName {
		return strings.TrimRight(string(clean[:MaxName-1]), " ") + "…"
	}
	return string(clean)
}

// invisible are the characters without a shape of their own: control characters, those of
// format (bidirectional ones, zero-width ones, tags), private ones, line separators, fillers
// and variation selectors.
var invisible = []*unicode.RangeTable{
	unicode.C, unicode.Zl, unicode.Zp, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector,
}

// blankBraille counts as a symbol, and is none that anybody sees.
const blankBraille = '\u2800'
