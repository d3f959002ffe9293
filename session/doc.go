// Package session has the type [Session], by which the authorization endpoint decides, and
// [Cookies], which keeps sessions for hosts that have none of their own.
//
// # Hosts that have sessions
//
// They need only [Session]: a short function fills one in from the host's own session. They
// use nothing else of this package.
//
// # Hosts that have none
//
// They use [Cookies]. It keeps sessions in a [Store], by default in memory. The browser
// gets a cookie with a random value, which leads to its session:
//
//	cookies, err := session.NewCookies(session.Config{})
//
// The login page checks the password, or another proof, and signs the user in:
//
//	func login(w http.ResponseWriter, r *http.Request) {
//		user, ok := check(r.PostFormValue("name"), r.PostFormValue("password"))
//		if !ok {
//			…
//		}
//		if _, err := cookies.SignIn(w, r, session.Session{Subject: user.ID}); err != nil {
//			…
//		}
//		http.Redirect(w, r, "/", http.StatusSeeOther)
//	}
//
// From then on r carries the new cookie too, so that the next call of the login page with r
// finds the user signed in.
//
// All other pages ask who is signed in:
//
//	s, err := cookies.Session(r)
//	if err != nil {
//		… // the store failed: treat the user as not signed in
//	}
//	if !s.SignedIn() {
//		… // nobody, or somebody whose second factor is missing
//	}
//
// # How long a sign-in lasts
//
// The server ends a session if it was not used for [Config.Idle], and in any case after
// [Config.Absolute]. The browser usually drops the cookie when it is closed. A user who
// ticks "keep me signed in" gets a session that is Persistent:
//
//	s := session.Session{Subject: user.ID, Persistent: r.PostFormValue("keep") != ""}
//
// Absolute ends it, Idle does not, and the cookie gets a Max-Age up to that end. If several
// accounts are in the browser, the cookie has a Max-Age only while all of them are
// Persistent. It then ends with the account that lasts longest.
//
// # A second factor
//
// A second factor takes two sign-ins. When the password was right, sign the user in with
// SecondFactorPending set: [Session.SignedIn] is false for that session. When the second
// factor was right too, sign the user in without it. The browser then gets a new cookie
// value, so that a value that leaked before is useless. Set Persistent in both: the first
// session stores it for the second, and Idle ends the first like any other.
//
// # Protect the pages that change who is signed in
//
// Another site must not be able to post to the pages that sign in, sign out or choose an
// account: it could sign the browser in as somebody else, or out. Wrap these pages in
// [http.CrossOriginProtection].
//
// A new password and a disabled account must end all sessions of the user at once. For
// both, the host calls [Cookies.SignOutEverywhere].
//
// # Several accounts in one browser
//
// With [Config.Accounts] above 1, a sign-in adds an account to those that are signed in
// already. One account is the active one: all of the above is about it. A page shows the
// others and lets the user change to one of them:
//
//	accounts, err := cookies.Accounts(r)          // the active one first
//	s, err := cookies.Choose(w, r, subject)       // makes another the active one
//	err := cookies.SignOutAccount(w, r, subject)  // ends one
//	err := cookies.SignOut(w, r)                  // ends all of them
//
// Every account has a session of its own, with its own times. An account becomes active
// only by a sign-in or a choice. When the active account expires or is signed out, nobody
// is signed in until the user signs in or chooses.
//
// # What is stored where
//
// The browser has only 256 random bits for each account, in a cookie named
// __Host-usher-session unless [Config.Name] sets another name. The store's key is the
// SHA-256 sum of that value, so that nobody can sign in with the content of the store, of a
// backup or of a query log. The record of an account says whether it is Persistent, so
// nobody can extend a sign-in by keeping the cookie. A visitor who has not signed in costs
// the store nothing: no cookie, no record, no query.
package session
