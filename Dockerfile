# A relay or node as one static program. See docs/relay.md.
FROM rust:1-alpine AS build
# ring is built from C.
RUN apk add --no-cache build-base
WORKDIR /source
COPY . .
RUN cargo build --release --locked -p scp2p-bin \
 && mkdir /data

FROM scratch
COPY --from=build /source/target/release/scp2p /scp2p
COPY --from=build --chown=65532:65532 /data /data
USER 65532:65532
ENV SCP2P_DATA_DIR=/data
VOLUME /data
EXPOSE 7000/udp 7001/tcp
ENTRYPOINT ["/scp2p"]
CMD ["relay"]
