// Package session holds the sign-in that the authorization endpoint decides on,
// and a cookie keeper for hosts that have no sessions of their own.
//
// # Hosts that have sessions
//
// They need only [Session]: a function of a few lines fills one in from what the
// host keeps, and nothing else of this package is used.
//
// # Hosts that have none
//
// They use [Cookies]. It keeps sessions in a [Store], by default in memory, and
// gives the browser a cookie with a random value that names one of them:
//
//	cookies, err := session.NewCookies(session.Config{})
//
// The login page checks the password, or whatever the host goes by, and signs the
// user in:
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
// From then on r carries the new cookie too, so that whatever the login page calls next
// with r finds the user signed in.
//
// Everything else asks who that is:
//
//	s, err := cookies.Session(r)
//	if err != nil {
//		… // the store failed: nobody is known to be signed in
//	}
//	if !s.SignedIn() {
//		… // nobody, or somebody whose second factor is missing
//	}
//
// # How long a sign-in lasts
//
// A session ends on the server: when it was not used for [Config.Idle], and after
// [Config.Absolute] in any case. The cookie usually goes when the browser is closed. A user
// who ticks "keep me signed in" gets a session that is Persistent:
//
//	s := session.Session{Subject: user.ID, Persistent: r.PostFormValue("keep") != ""}
//
// Idle does not end it, Absolute does, and the cookie gets a Max-Age that leads there. If
// several accounts are in the browser, it has one only while all of them are Persistent:
// then it is the end of the one that lasts longest.
//
// # A second factor
//
// A second factor takes two sign-ins. The first, when the password was right, has
// SecondFactorPending set, and [Session.SignedIn] is false for it. The second, when
// the second factor was right too, has it unset, and gives the browser a new cookie
// value, so that a value which leaked before is worth nothing after. Give Persistent to
// both: the first keeps it for the second, and goes by Idle like any other.
//
// # Whatever changes who is signed in
//
// Another site must not be able to post to the pages that sign in and out or choose an
// account: it could sign the browser in as somebody else, or out.
// [http.CrossOriginProtection] around those pages sees to that.
//
// Two things of a host's life end sessions at once, and the host has to say so:
// a new password and a disabled account both call [Cookies.SignOutEverywhere].
//
// # Several accounts in one browser
//
// With [Config.Accounts] above 1, who signs in joins those who are signed in already.
// One account is the active one, which all of the above is about. A page shows the
// others and lets the user change over:
//
//	accounts, err := cookies.Accounts(r)          // the active one first
//	s, err := cookies.Choose(w, r, subject)       // makes another the active one
//	err := cookies.SignOutAccount(w, r, subject)  // ends one
//	err := cookies.SignOut(w, r)                  // ends all of them
//
// Every account has a session of its own, with its own times. Nobody becomes active
// without a sign-in or a choice: when the active account expires or is signed out,
// nobody is signed in until then.
//
// # What is kept where
//
// The browser has 256 random bits for each account and nothing else, in a cookie named
// __Host-usher-session unless [Config.Name] says otherwise. The store has the SHA-256 sum
// of such a value as its key, so that reading the store, a backup or a log of its queries
// lets nobody sign in. Which accounts are Persistent is with their records, so nobody can
// make a sign-in last by keeping the cookie. A visitor who has not signed in costs the
// store nothing: no cookie, no record, no query.
package session
