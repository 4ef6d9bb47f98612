# Farebox, as it runs in production: one process, no build step, no root.
FROM node:26-slim

ENV NODE_ENV=production
WORKDIR /app

COPY package.json package-lock.json .npmrc ./
COPY patches ./patches
RUN npm ci --omit=dev && npm cache clean --force

COPY src ./src
COPY migrations ./migrations

USER node
# The public listener; the internal one (3001) stays on the loopback unless INTERNAL_HOST says otherwise.
EXPOSE 3000
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
  CMD ["node", "-e", "fetch('http://127.0.0.1:' + (process.env.INTERNAL_PORT || 3001) + '/readyz').then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]

# Exec form: signals reach the process, which drains before it ends.
CMD ["node", "--import", "./src/platform/require-node.mjs", "src/main.ts"]
