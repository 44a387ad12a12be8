# Pin the base image by its digest where your registry is known: docker buildx imagetools inspect golang:1.26 prints it, and
# FROM golang:1.26@sha256:<digest> uses it.
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
ENV GONOSUMDB=github.com/superfly/*
RUN go mod download
COPY api api
COPY cmd cmd
COPY controllers controllers
# What manager --version says; without it, (devel).
ARG VERSION
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-X main.version=$VERSION" -o /manager ./cmd/manager && \
    CGO_ENABLED=0 go build -trimpath -ldflags "-X main.version=$VERSION" -o /gateway ./cmd/gateway

# Nothing but the programs and the certificates that it checks api.machines.dev and PostgreSQL with.
FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /manager /manager
COPY --from=build /gateway /gateway
USER 65532:65532
ENTRYPOINT ["/manager"]
