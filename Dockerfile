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
# A first start may take long, to rebuild what was lost. konto asks itself over its control socket.
HEALTHCHECK --interval=10s --timeout=6s --start-period=10m --start-interval=1s CMD ["/konto", "health"]
ENTRYPOINT ["/konto"]
CMD ["serve"]
