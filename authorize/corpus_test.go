package authorize_test

import (
	"flag"
	"strings"
	"testing"

	"github.com/usher-auth/usher/authorize/internal/corpus"
)

var corpusFiles = flag.String("corpus", "",
	"comma-separated corpus files for TestCorpus, relative to this folder or to the module")

func TestCorpus(t *testing.T) {
	var files []string
	if *corpusFiles != "" {
		files = strings.Split(*corpusFiles, ",")
	}
	corpus.Test(t, files...)
}
