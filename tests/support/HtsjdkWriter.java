import htsjdk.samtools.SAMFileHeader;
import htsjdk.samtools.SAMFileWriter;
import htsjdk.samtools.SAMFileWriterFactory;
import htsjdk.samtools.SAMRecord;
import htsjdk.samtools.SamReader;
import htsjdk.samtools.SamReaderFactory;
import htsjdk.samtools.ValidationStringency;
import htsjdk.variant.variantcontext.VariantContext;
import htsjdk.variant.variantcontext.writer.Options;
import htsjdk.variant.variantcontext.writer.VariantContextWriter;
import htsjdk.variant.variantcontext.writer.VariantContextWriterBuilder;
import htsjdk.variant.vcf.VCFFileReader;
import java.io.File;

/** Rewrites a file as Picard and GATK write it: HtsjdkWriter INPUT OUTPUT [FASTA]. */
public final class HtsjdkWriter {
    public static void main(String[] arguments) throws Exception {
        File input = new File(arguments[0]);
        File output = new File(arguments[1]);
        File fasta = arguments.length > 2 ? new File(arguments[2]) : null;
        if (output.getName().contains(".vcf")) {
            writeVariants(input, output);
        } else {
            writeReads(input, output, fasta);
        }
    }

    private static void writeReads(File input, File output, File fasta) throws Exception {
        SamReaderFactory readers =
                SamReaderFactory.makeDefault().validationStringency(ValidationStringency.SILENT);
        try (SamReader reader = readers.open(input)) {
            SAMFileHeader header = reader.getFileHeader();
            SAMFileWriterFactory writers =
                    new SAMFileWriterFactory().setCreateIndex(output.getName().endsWith(".bam"));
            try (SAMFileWriter writer = writers.makeWriter(header, true, output, fasta)) {
                for (SAMRecord record : reader) {
                    writer.addAlignment(record);
                }
            }
        }
    }

    private static void writeVariants(File input, File output) {
        try (VCFFileReader reader = new VCFFileReader(input, false);
                VariantContextWriter writer =
                        new VariantContextWriterBuilder()
                                .setOutputFile(output)
                                .setReferenceDictionary(
                                        reader.getFileHeader().getSequenceDictionary())
                                .setOption(Options.INDEX_ON_THE_FLY)
                                .build()) {
            writer.writeHeader(reader.getFileHeader());
            for (VariantContext record : reader) {
                writer.add(record);
            }
        }
    }
}
