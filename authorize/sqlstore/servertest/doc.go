// Package servertest holds package sqlstore to the contracts of its interfaces, over real
// databases: SQLite in this process and private instances of PostgreSQL and MariaDB.
package servertest
