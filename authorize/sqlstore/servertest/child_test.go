package servertest

import "errors"

func child(task string) error { return errors.New("unknown task " + task) }
