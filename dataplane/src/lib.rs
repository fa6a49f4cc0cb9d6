//! The gateway: adapts protocols, falls back, limits and meters. Also the local commands of `routeapi`.
