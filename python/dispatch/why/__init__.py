"""Why a request went where it went, and where one would go: `dispatch why`, `dispatch route`."""
