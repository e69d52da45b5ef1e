# syntax=docker/dockerfile:1
FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
# cgo for SQLite; static, so that the image below needs no libc. The version comes from .git.
RUN CGO_ENABLED=1 go build -trimpath -tags osusergo,netgo -ldflags '-s -w -linkmode external -extldflags -static' -o /konto ./cmd/konto \
 && mkdir -m 0700 /data

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /konto /konto
COPY --from=build --chown=65532:65532 /data /data
USER 65532:65532
# Variables, not flags, so that the variables of whoever runs the image count before them.
ENV KONTO_DATA=/data KONTO_HTTP=0.0.0.0:8080
VOLUME /data
EXPOSE 8080
# A server that hangs does not answer in time, and is as unhealthy as one that is down.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["/konto", "health"]
ENTRYPOINT ["/konto"]
CMD ["serve"]
