"""The page at `/`: what this server is, and commands to begin with. It names no object."""

from html import escape

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{name}</title>
<style>
  body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 46rem }}
  body {{ margin: 3rem auto; padding: 0 1rem }}
  pre, code {{ font: 14px/1.5 ui-monospace, monospace; background: #8881; border-radius: 4px }}
  pre {{ padding: .8rem; overflow-x: auto }}
  td {{ padding: .15rem 1rem .15rem 0; vertical-align: top }}
  @media (prefers-color-scheme: dark) {{
    body {{ background: #16181c; color: #ddd }} a {{ color: #8bf }}
  }}
</style>
<h1>{name}</h1>
<p>{description}. Ask for a region of a file and get exactly its records, by
<a href="https://samtools.github.io/hts-specs/htsget.html">GA4GH htsget 1.3</a>.</p>
<pre>samtools view "{origin}/reads/<i>ID</i>?referenceName=20&amp;start=1000000&amp;end=1010000"
bcftools view "{origin}/variants/<i>ID</i>?referenceName=20&amp;start=1000000&amp;end=1010000"</pre>
<p>Positions are 0-based and half-open. The region goes into the URL: samtools does not translate
regions of its command line.</p>
<table>
<tr><td><code>/reads/<i>ID</i></code><td>tickets for BAM and CRAM
<tr><td><code>/variants/<i>ID</i></code><td>tickets for VCF and BCF
<tr><td><a href="reads/service-info"><code>/reads/service-info</code></a>,
<a href="variants/service-info"><code>/variants/service-info</code></a><td>what the service is
<tr><td><code>/sequence/<i>DIGEST</i></code>,
<a href="sequence/service-info"><code>/sequence/service-info</code></a><td>reference sequences, by
<a href="https://ga4gh.github.io/refget/sequences/">refget</a>
<tr><td><a href="list/collection"><code>/list/collection</code></a>,
<a href="service-info"><code>/service-info</code></a><td>what FASTA files hold, by
<a href="https://ga4gh.github.io/refget/seqcols/">Sequence Collections</a>
<tr><td><a href="openapi.json"><code>/openapi.json</code></a><td>the interface, for machines
<tr><td><a href="health/ready"><code>/health/ready</code></a><td>whether it can answer
</table>
<p>Run by <a href="{organization_url}">{organization}</a>. htsgate {version}</p>
</html>
"""


def landing_page(
    *,
    name: str,
    description: str,
    origin: str,
    organization: str,
    organization_url: str,
    version: str,
) -> bytes:
    """The page as UTF-8; `origin` is what URLs of this server begin with."""
    values = {
        "name": name,
        "description": description,
        "origin": origin,
        "organization": organization,
        "organization_url": organization_url,
        "version": version,
    }
    return _PAGE.format_map({key: escape(value) for key, value in values.items()}).encode()
