import htsjdk.samtools.DefaultSAMRecordFactory;
import htsjdk.samtools.HtsgetBAMFileReader;
import htsjdk.samtools.SAMFileHeader;
import htsjdk.samtools.SAMRecord;
import htsjdk.samtools.SAMTextHeaderCodec;
import htsjdk.samtools.SamInputResource;
import htsjdk.samtools.SamReader;
import htsjdk.samtools.SamReaderFactory;
import htsjdk.samtools.ValidationStringency;
import htsjdk.samtools.util.CloseableIterator;
import htsjdk.samtools.util.Interval;
import htsjdk.samtools.util.Locatable;
import htsjdk.samtools.util.htsget.HtsgetFormat;
import htsjdk.samtools.util.htsget.HtsgetPOSTRequest;
import htsjdk.samtools.util.htsget.HtsgetRequest;
import java.io.IOException;
import java.io.StringWriter;
import java.net.HttpURLConnection;
import java.net.URI;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;

/**
 * Reads from an htsget server with htsjdk and prints, as SAM, the header and what each query found.
 *
 * <p>Arguments: how to open it, its URL, and queries: "all", "unmapped", or regions
 * contig:first-last (1-based, both ends included), several of them joined by commas.
 *
 * <ul>
 *   <li>reader: HtsgetBAMFileReader; prints first whether it sends POST;
 *   <li>factory: SamReaderFactory, whose URLs are htsget://, as Picard and GATK open files;
 *   <li>posted: what the server sends for each query, before the reader's own filter;
 *   <li>authorized: the URL has the region; the token is in the environment's HTSGET_TOKEN. The
 *       reader sends no token; this is a request of htsjdk's, taught to send one.
 * </ul>
 */
public final class HtsjdkClient {
    private interface Query {
        Iterator<SAMRecord> records(String query) throws IOException;
    }

    public static void main(String[] arguments) throws Exception {
        URI url = URI.create(arguments[1]);
        List<String> queries = List.of(arguments).subList(2, arguments.length);
        switch (arguments[0]) {
            case "reader":
                HtsgetBAMFileReader direct = open(url);
                System.out.println("POST " + direct.isUsingPOST());
                print(direct.getFileHeader(), queries, query -> ask(direct, query));
                direct.close();
                break;
            case "factory":
                try (SamReader reader = SamReaderFactory.make().open(SamInputResource.of(url))) {
                    print(reader.getFileHeader(), queries, query -> ask(reader, query));
                }
                break;
            case "posted":
                for (String query : queries) {
                    print(posted(url, query), query);
                }
                break;
            case "authorized":
                print(authorized(url), "all");
                break;
            default:
                throw new IllegalArgumentException(arguments[0]);
        }
    }

    private static HtsgetBAMFileReader open(URI url) throws IOException {
        return new HtsgetBAMFileReader(
                url,
                true,
                ValidationStringency.STRICT,
                DefaultSAMRecordFactory.getInstance(),
                false);
    }

    private static HtsgetRequest posted(URI url, String query) {
        return new HtsgetPOSTRequest(url)
                .withFormat(HtsgetFormat.BAM)
                .withIntervals(regions(query));
    }

    private static HtsgetRequest authorized(URI url) {
        return new HtsgetRequest(url) {
            @Override
            protected HttpURLConnection getConnection() {
                try {
                    HttpURLConnection connection =
                            (HttpURLConnection) toURI().toURL().openConnection();
                    connection.setRequestProperty("Accept", ACCEPT_TYPE);
                    connection.setRequestProperty(
                            "Authorization", "Bearer " + System.getenv("HTSGET_TOKEN"));
                    return connection;
                } catch (IOException failure) {
                    throw new IllegalStateException(failure);
                }
            }
        };
    }

    private static CloseableIterator<SAMRecord> ask(HtsgetBAMFileReader reader, String query) {
        switch (query) {
            case "all":
                return reader.getIterator();
            case "unmapped":
                return reader.queryUnmapped();
            default:
                List<Locatable> regions = regions(query);
                if (regions.size() > 1) {
                    return reader.query(regions, false);
                }
                Locatable region = regions.get(0);
                return reader.query(region.getContig(), region.getStart(), region.getEnd(), false);
        }
    }

    private static Iterator<SAMRecord> ask(SamReader reader, String query) {
        switch (query) {
            case "all":
                return reader.iterator();
            case "unmapped":
                return reader.queryUnmapped();
            default:
                Locatable region = regions(query).get(0);
                return reader.query(region.getContig(), region.getStart(), region.getEnd(), false);
        }
    }

    private static List<Locatable> regions(String query) {
        List<Locatable> regions = new ArrayList<>();
        for (String region : query.split(",")) {
            String[] parts = region.split("[:-]");
            int first = Integer.parseInt(parts[1]);
            regions.add(new Interval(parts[0], first, Integer.parseInt(parts[2])));
        }
        return regions;
    }

    private static void print(HtsgetRequest request, String query) throws IOException {
        SamInputResource data = SamInputResource.of(request.getResponse().getDataStream());
        try (SamReader reader = SamReaderFactory.make().open(data)) {
            print(reader.getFileHeader(), List.of(query), asked -> reader.iterator());
        }
    }

    private static void print(SAMFileHeader header, List<String> queries, Query asking)
            throws IOException {
        StringWriter text = new StringWriter();
        new SAMTextHeaderCodec().encode(text, header);
        System.out.print(text);
        for (String query : queries) {
            System.out.println(">" + query);
            Iterator<SAMRecord> records = asking.records(query);
            while (records.hasNext()) {
                System.out.print(records.next().getSAMString());
            }
            if (records instanceof CloseableIterator) {
                ((CloseableIterator<SAMRecord>) records).close();
            }
        }
    }
}
