import { defineConfig } from 'vite'

// The server to develop against: `npm run dev` shows the page with live reload, and asks this one for everything else.
const server = 'http://127.0.0.1:7880'

export default defineConfig({
  base: '/try/',
  build: {
    outDir: '../src/parley/console/static',
    emptyOutDir: true,
    // The one script is livekit-client for the most part; splitting it would not load less.
    chunkSizeWarningLimit: 1000,
    // An inlined asset would need `data:` in the content security policy.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    // Whoever gets the page gets the licences of what is in it.
    license: { fileName: 'licenses.txt' },
  },
  server: {
    proxy: {
      '/try/config.json': server,
      '/try/token': server,
      '/rtc': { target: server, ws: true },
    },
  },
})
