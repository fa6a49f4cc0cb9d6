# Both images, from source, for every architecture that Rust's image exists for:
#
#   docker build --target routeapi -t routeapi:0.1.0 .
#   docker build --target routeapi-operator -t routeapi-operator:0.1.0 .
#
# One static program each and nothing else. `images/build` makes the same without Docker.
FROM rust:1.95.0-bookworm AS build
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    images/build --binaries /out

FROM scratch AS routeapi-operator
COPY images/passwd images/group /etc/
COPY --from=build /out/routeapi-operator /routeapi-operator
USER 65532:65532
ENTRYPOINT ["/routeapi-operator"]

FROM scratch AS routeapi
COPY images/passwd images/group /etc/
COPY --from=build /out/routeapi /routeapi
USER 65532:65532
ENTRYPOINT ["/routeapi"]
