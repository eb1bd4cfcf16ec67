// Reads regions with the HtsgetFile of @gmod/bam, the parser of JBrowse, and prints them as JSON.
// The argument is JSON: {package, baseUrl, trackId, token, regions: [[name, start, end], ...]},
// 0-based and half-open.
const { package: name, baseUrl, trackId, token, regions } = JSON.parse(process.argv[2])
const { HtsgetFile } = await import(name)

// Newer releases take the caller's fetch, which JBrowse gives them; older ones take options, which
// they use for the ticket and for the blocks.
const headers = token ? { authorization: `Bearer ${token}` } : {}
const authorized = (url, options) =>
  fetch(url, url.startsWith(baseUrl) ? { ...options, headers } : options)
const options = name === 'bam-old' ? { headers } : {}

const file = new HtsgetFile({ baseUrl, trackId, fetch: authorized })
const header = await file.getHeader(options)
const answers = []
for (const [contig, start, end] of regions) {
  answers.push(await file.getRecordsForRange(contig, start, end, options))
}
console.log(JSON.stringify({ header, regions: answers.map(records => records.map(fields)) }))

function fields(record) {
  return [
    record.name,
    record.flags,
    record.ref_id,
    record.start,
    record.mq ?? null,
    record.CIGAR,
    record.next_refid,
    record.next_pos,
    record.template_length,
    record.seq,
    // Older releases show no qualities of reads without a match.
    record.isSegmentUnmapped() ? [] : Array.from(record.qual),
    record.tags.RG,
  ]
}
