package destination

import "fmt"

func explain(requested string, registered []string) string {
	return fmt.Sprintf("it is at %.80q", Host(requested))
}
