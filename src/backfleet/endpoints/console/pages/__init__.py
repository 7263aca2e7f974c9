"""The pages. Each module has a list ROUTES; what is on a page is asked of operations as the person who looks at it."""

from backfleet.endpoints.console.pages import (
    events,
    explorer,
    fleet,
    hosts,
    logging_in,
    minimums,
    oidc_logins,
    others,
    permissions,
    pins,
    releases,
    rollouts,
    tasks,
)

ROUTES = [
    *logging_in.ROUTES,
    *oidc_logins.ROUTES,
    *events.ROUTES,
    *fleet.ROUTES,
    *hosts.ROUTES,
    *tasks.ROUTES,
    *rollouts.ROUTES,
    *explorer.ROUTES,
    *releases.ROUTES,
    *pins.ROUTES,
    *minimums.ROUTES,
    *permissions.ROUTES,
    *others.ROUTES,
]
