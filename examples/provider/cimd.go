package main

import (
	"fmt"

	"github.com/usher-auth/usher/authorize"
	"github.com/usher-auth/usher/authorize/cimd"
)

// withDocuments lets clients introduce themselves by a metadata document at the URL that is
// their client_id, if the file says so.
func (s *server) withDocuments(o options, clients authorize.ClientStore) (authorize.ClientStore, error) {
	c := o.config.MetadataDocuments
	if c == nil {
		return clients, nil
	}
	store, err := cimd.New(cimd.Config{
		Clients:       clients,
		Issuer:        o.issuer,
		Scopes:        c.Scopes,
		DefaultScopes: c.DefaultScopes,
		AppSchemes:    c.AppSchemes,
		Logger:        o.log,
		Now:           o.now,
	})
	if err != nil {
		return nil, fmt.Errorf("metadata_documents: %w", err)
	}
	s.discovered = append(s.discovered, store.Metadata())
	return store, nil
}
