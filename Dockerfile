# docker build -t latchkey .
#
# BUILD_IMAGE: anything with Bun, or with Node.js and npm, on glibc.
# FINAL_IMAGE: anything with glibc; the binary needs nothing else, no shell either.
ARG BUILD_IMAGE=oven/bun:1.4.5
ARG FINAL_IMAGE=gcr.io/distroless/base-debian12

FROM ${BUILD_IMAGE} AS build
WORKDIR /build
RUN command -v bun >/dev/null || npm install --global bun@1.4.5
COPY package.json bun.lock bunfig.toml ./
RUN bun install --frozen-lockfile --production
COPY . .
# For the processor of the image that is being built.
RUN bun run build --outfile=/out/latchkey && mkdir -m 700 /out/data

FROM ${FINAL_IMAGE}
COPY --from=build /out/latchkey /usr/local/bin/latchkey
# Numeric, so that an orchestrator can see that it is not root. The same number as distroless's "nonroot".
COPY --from=build --chown=65532:65532 /out/data /data
USER 65532:65532
ENV HOST=0.0.0.0 \
    PORT=8000 \
    DATA_DIR=/data
# The embedded database and its secrets. With DATABASE_URL nothing is written there.
VOLUME /data
WORKDIR /data
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=15s --retries=3 \
    CMD ["/usr/local/bin/latchkey", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/latchkey"]
CMD ["serve"]
