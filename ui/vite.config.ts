import { defineConfig } from "vitest/config";

// The service that `npm run dev` shows.
const server = "http://127.0.0.1:8490";

export default defineConfig({
  // Relative, so that the page works under any prefix.
  base: "./",
  build: {
    outDir: "../src/vmanomaly/server/ui",
    emptyOutDir: true,
    target: "es2022",
    // A preload helper is not needed: there are few chunks, and they load from the same host.
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 600,
  },
  server: { proxy: { "/api": server, "/prettify-query": server } },
  test: { environment: "node", include: ["src/**/*.test.ts"] },
});
