// Shows tracks in igv.js, in Chromium, and prints what it loaded and drew as JSON. The argument is
// JSON: {chromium, flags, fasta, tracks, loci, screenshots}; a screenshot is written of each locus.
// The page and its genome come from a server here: the tracks' URLs are of another origin.
import { createReadStream, statSync } from 'node:fs'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { chromium } from 'playwright-core'

const asked = JSON.parse(process.argv[2])
const PAGE = `<!doctype html><meta charset="utf-8"><title>igv.js</title><link rel="icon" href="data:,">
<div id="igv"></div><script src="/igv.js"></script>`
const FILES = {
  '/igv.js': fileURLToPath(new URL('node_modules/igv/dist/igv.min.js', import.meta.url)),
  '/genome.fa': asked.fasta,
  '/genome.fa.fai': `${asked.fasta}.fai`,
}

function serve(request, response) {
  const path = FILES[request.url.replace(/[?].*/, '')]
  if (path === undefined) {
    response.writeHead(request.url === '/' ? 200 : 404, { 'content-type': 'text/html' })
    response.end(request.url === '/' ? PAGE : '')
    return
  }
  const size = statSync(path).size
  const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '')
  const start = Number(range?.[1] ?? 0)
  const end = Math.min(Number(range?.[2] || size - 1), size - 1)
  const headers = { 'content-length': end - start + 1 }
  if (range) headers['content-range'] = `bytes ${start}-${end}/${size}`
  response.writeHead(range ? 206 : 200, headers)
  createReadStream(path, { start, end }).pipe(response)
}

const server = createServer(serve)
await new Promise(resolve => server.listen(0, '127.0.0.1', resolve))
const browser = await chromium.launch({ executablePath: asked.chromium, args: asked.flags })
try {
  const page = await browser.newPage({ viewport: { width: 1200, height: 1000 } })
  const complaints = []
  page.on('console', message => {
    if (message.type() !== 'log') complaints.push(`${message.type()}: ${message.text()}`)
  })
  page.on('pageerror', error => complaints.push(`pageerror: ${error.message}`))
  page.on('requestfailed', request =>
    complaints.push(`requestfailed: ${request.url()} ${request.failure().errorText}`))
  const origin = `http://127.0.0.1:${server.address().port}`
  await page.goto(origin)
  const views = []
  for (const [at, locus] of asked.loci.entries()) {
    const tracks = await page.evaluate(show, { locus, tracks: asked.tracks })
    const png = await page.screenshot({ path: join(asked.screenshots, `${at + 1}.png`) })
    const painted = await page.evaluate(count, png.toString('base64'))
    views.push({ tracks, painted, alert: await page.evaluate(warning) })
  }
  console.log(JSON.stringify({ origin, version: browser.version(), views, complaints }))
} finally {
  await browser.close()
  server.close()
}

// The rest runs in the page.

// Goes to a locus; what the tracks then hold that overlaps the view, places 0-based and half-open.
async function show({ locus, tracks }) {
  if (window.shown === undefined) {
    window.shown = await igv.createBrowser(document.getElementById('igv'), {
      reference: { id: 'genome', fastaURL: '/genome.fa', indexURL: '/genome.fa.fai' },
      loadDefaultGenomes: false, // the list of igv.org's
      locus,
      tracks,
    })
  } else {
    await window.shown.search(locus)
  }
  await window.shown.updateViews()
  const view = {}
  for (const { name, type } of tracks) {
    const [viewport] = window.shown.findTracks('name', name)[0]?.trackView.viewports ?? []
    const { start, end } = viewport?.referenceFrame ?? {}
    const held = viewport?.cachedFeatures ?? []
    const all = type === 'alignment' ? held.allAlignments?.() ?? [] : held
    view[name] = all.filter(each => each.start < end && each.end > start).map(fields)
  }
  return view

  function fields(feature) {
    if (feature.readName === undefined) {
      return [feature.pos - 1, feature.referenceBases, feature.alternateBases]
    }
    return [feature.readName, feature.flags, feature.start, feature.mq, feature.cigar, feature.seq]
  }
}

// How many pixels of the screenshot, below the coverage of the first track and to its end, are not
// white: those of its reads.
async function count(png) {
  const [{ track, viewports }] = window.shown.trackViews.filter(({ track }) => track.coverageTrack)
  const box = viewports[0].viewportElement.getBoundingClientRect()
  const top = box.top + track.coverageTrack.height
  const image = await createImageBitmap(await (await fetch(`data:image/png;base64,${png}`)).blob())
  const canvas = new OffscreenCanvas(image.width, image.height)
  const context = canvas.getContext('2d')
  context.drawImage(image, 0, 0)
  const { data } = context.getImageData(box.left, top, box.width, box.bottom - top)
  let painted = 0
  for (let at = 0; at < data.length; at += 4) {
    if (data[at] < 250 || data[at + 1] < 250 || data[at + 2] < 250) painted += 1
  }
  return painted
}

// What a dialog of igv.js says, if there is one.
function warning() {
  const { shadowRoot } = document.getElementById('igv')
  const dialogs = [...shadowRoot.querySelectorAll('.igv-ui-alert-dialog-container')]
  const open = dialogs.filter(each => getComputedStyle(each).display !== 'none')
  return open.map(each => each.textContent).join(' ')
}
