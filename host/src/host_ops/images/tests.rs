//! Files that Pillow wrote, and what it reads from them.

use super::super::Value;
use super::super::testing::*;
use sunmao_graph::{Attribute, DType, Tensor};

/// What all small files show: three columns, two rows.
const SMALL: [u8; 18] = [255, 0, 0, 0, 255, 0, 0, 0, 255, 1, 2, 3, 250, 128, 7, 90, 90, 90];

fn bytes(hex: &str) -> Vec<u8> {
    let digit = |character: u8| char::from(character).to_digit(16).expect("hex digits") as u8;
    hex.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

fn file(bytes: &[u8]) -> Value {
    Value::Tensor(Tensor { dtype: DType::U8, shape: vec![bytes.len() as u64], bytes: bytes.into() })
}

fn pixels(bytes: &[u8], format: &str) -> Tensor {
    run_one("ImageDecoder", &[("pixel_format", Attribute::Text(format.to_owned()))], &[file(bytes)])
}

#[track_caller]
fn check_small(bytes: &[u8]) {
    let picture = pixels(bytes, "RGB");
    assert_eq!((picture.shape.as_slice(), &*picture.bytes), ([2, 3, 3].as_slice(), SMALL.as_slice()));
}

/// Every sample counts, and so does its place.
fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0u32, |sum, byte| sum.wrapping_mul(31).wrapping_add((*byte).into()))
}

#[test]
fn jpeg_samples_are_those_of_libjpeg() {
    for (hex, colours, grays) in [(BASELINE, 1_140_122_235, 3_858_939_978), (PROGRESSIVE, 1_359_437_302, 3_525_531_057)]
    {
        let picture = pixels(&bytes(hex), "RGB");
        assert_eq!((picture.shape.as_slice(), checksum(&picture.bytes)), ([13, 19, 3].as_slice(), colours));
        let picture = pixels(&bytes(hex), "Grayscale");
        assert_eq!((picture.shape.as_slice(), checksum(&picture.bytes)), ([13, 19, 1].as_slice(), grays));
    }
    let gray = pixels(&bytes(GRAY), "Grayscale");
    assert_eq!((gray.shape.as_slice(), checksum(&gray.bytes)), ([13, 19, 1].as_slice(), 1_398_960_540));
    let colour = pixels(&bytes(GRAY), "BGR");
    assert_eq!(
        (colour.shape.as_slice(), &colour.bytes[..6]),
        ([13, 19, 3].as_slice(), [32, 32, 32, 34, 34, 34].as_slice())
    );
}

#[test]
fn lossless_formats_give_the_pixels_that_were_written() {
    for hex in [PNG_PALETTE, PNG_ALPHA, WEBP, TIFF, JPEG_2000, BMP, BMP_PALETTE] {
        check_small(&bytes(hex));
    }
}

#[test]
fn channels_are_laid_as_asked() {
    let picture = pixels(&bytes(BMP), "BGR");
    assert_eq!(picture.bytes[9..], [3, 2, 1, 7, 128, 250, 90, 90, 90]);
    let picture = pixels(&bytes(BMP), "Grayscale");
    assert_eq!(
        (picture.shape.as_slice(), &*picture.bytes),
        ([2, 3, 1].as_slice(), [76, 150, 29, 2, 151, 90].as_slice())
    );
}

#[test]
fn portable_maps_as_text_and_as_bytes() {
    check_small(b"P3 # colours\n3 2 255\n255 0 0 0 255 0 0 0 255\n1 2 3 250 128 7 90 90 90\n");
    check_small(&[b"P6\n3 2\n255\n".as_slice(), &SMALL].concat());
    let gray = |file: &[u8]| pixels(file, "Grayscale").bytes.to_vec();
    assert_eq!(gray(b"P2 2 1 3 1 3"), [85, 255]);
    assert_eq!(gray(b"P5 2 1 65535\n\x80\x00\xff\xff"), [128, 255]);
    assert_eq!(gray(b"P1 3 2 010 111"), [255, 0, 255, 0, 0, 0]);
    assert_eq!(gray(b"P4 9 1\n\x80\x80"), [0, 255, 255, 255, 255, 255, 255, 255, 0]);
}

#[test]
fn what_cannot_be_read_is_refused() {
    let refused = |bytes: &[u8]| refusal("ImageDecoder", &[], &[file(bytes)]);
    assert_eq!(
        refused(b"GIF89a"),
        "got a file of unknown format; JPEG, JPEG 2000, PNG, WebP, TIFF, BMP and PNM are read"
    );
    assert_eq!(
        refused(b"P6 100000 100000 255\n"),
        "got a PNM file that is 100000 x 100000 pixels, more than 2^26; make it smaller"
    );
    assert_eq!(refused(&bytes(BASELINE)[..300]), "got a JPEG file that is cut off");
    let mut arithmetic = bytes(BASELINE);
    let at = arithmetic.windows(2).position(|pair| pair == [0xff, 0xc0]).expect("a frame");
    arithmetic[at + 1] = 0xc9;
    assert_eq!(
        refused(&arithmetic),
        "got a JPEG file that is lossless, hierarchical or arithmetic-coded; save it as baseline"
    );
}

#[test]
fn damaged_files_are_errors() {
    for hex in [BASELINE, PROGRESSIVE, GRAY, PNG_PALETTE, WEBP, TIFF, JPEG_2000, BMP_PALETTE] {
        let whole = bytes(hex);
        for end in (12..whole.len()).step_by(7) {
            // Some formats still give the pixels that are there.
            let _ = try_run("ImageDecoder", &[], &[file(&whole[..end])], 1);
            let mut flipped = whole.clone();
            flipped[end] ^= 0x5a;
            if let Ok(results) = try_run("ImageDecoder", &[], &[file(&flipped)], 1) {
                let picture = tensor(results[0].clone().expect("the picture"));
                assert_eq!(sunmao_graph::tensor::elements(&picture.shape), Some(picture.bytes.len() as u64));
            }
        }
    }
}

const BASELINE: &str = "\
    ffd8ffe000104a46494600010100000100010000ffdb004300140e0f120f0d14121012171514181e32211e1c1c1e3d2c2e243249404c4b47\
    404645505a736250556d5645466488656d777b8182814e608d978c7d96737e817cffdb0043011517171e1a1e3b21213b7c5346537c7c7c7c\
    7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7cffc0001108000d001303\
    012200021101031101ffc40017000003010000000000000000000000000000040503ffc40024100000050302070000000000000000000000\
    010304110212210531142233516192d1ffc400160101010100000000000000000000000000040506ffc40019110002030100000000000000\
    0000000000010300020411ffda000c03010002110311003f009c832db028a0cf6c07d16f4059c6a94b3775a1c3df64735f132447dbc87e8d\
    77248ac36275da7959b934c1600142d6dcc74d0f53fa0130eb74d0053a7fffd9";

const PROGRESSIVE: &str = "\
    ffd8ffe000104a46494600010100000100010000ffdb004300140e0f120f0d14121012171514181e32211e1c1c1e3d2c2e243249404c4b47\
    404645505a736250556d5645466488656d777b8182814e608d978c7d96737e817cffdb0043011517171e1a1e3b21213b7c5346537c7c7c7c\
    7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7cffc2001108000d001303\
    012100021101031101ffc4001800000301010000000000000000000000000003040102ffc400170101010101000000000000000000000000\
    04050102ffda000c030100021003100000019a96f2e0abd5e4ee42d5ffc400191000030101010000000000000000000000000102120313ff\
    da0008010100010502502832292bae2bda8fffc4001b11000104030000000000000000000000000001020312041113ffda0008010301013f\
    018de58c74bae8e2d3ffc4001b11000104030000000000000000000000000001020311121322ffda0008010201013f01924a370fe968c4ff\
    c400191000010500000000000000000000000000000111122031ffda0008010100063f02a344c43fffc4001a100002020300000000000000\
    0000000000000110112141f1ffda0008010100013f219aa8437356ece49fffda000c030100020003000000109f93ffc4001a110002020300\
    0000000000000000000000000111215181f0ffda0008010301013f10245f620599f68fffc400181100030101000000000000000000000000\
    0001111031ffda0008010201013f10c0b6541adeb3ffc4001e1000010401050000000000000000000000010011213141105161c1d1ffda00\
    08010100013f10ae1550844468701de17700edca0df6bd5fffd9";

const GRAY: &str = "\
    ffd8ffe000104a46494600010100000100010000ffdb004300281c1e231e19282321232d2b28303c64413c37373c7b585d4964918099968f\
    808c8aa0b4e6c3a0aadaad8a8cc8ffcbdaeef5ffffff9bc1fffffffaffe6fdfff8ffc0000b08000d001301011100ffc4001f000001050101\
    0101010100000000000000000102030405060708090a0bffc400b5100002010303020403050504040000017d010203000411051221314106\
    13516107227114328191a1082342b1c11552d1f02433627282090a161718191a25262728292a3435363738393a434445464748494a535455\
    565758595a636465666768696a737475767778797a838485868788898a92939495969798999aa2a3a4a5a6a7a8a9aab2b3b4b5b6b7b8b9ba\
    c2c3c4c5c6c7c8c9cad2d3d4d5d6d7d8d9dae1e2e3e4e5e6e7e8e9eaf1f2f3f4f5f6f7f8f9faffda0008010100003f00ae907b558487daa7\
    10f1d2848c54725d086631f979c77cd345ec98fba9f91ff1afffd9";

const PNG_PALETTE: &str = "\
    89504e470d0a1a0a0000000d49484452000000030000000204030000006f5a7b2900000012504c5445fa800700ff005a5a5a010203ff0000\
    0000ffa24b19860000000e49444154789c6374e467797f1f00045602247d2c935a0000000049454e44ae426082";

const PNG_ALPHA: &str = "\
    89504e470d0a1a0a0000000d49484452000000030000000208060000009d74661a0000002249444154789c63fccfc0c0c9f89f818181f13f\
    0323231333e7cf3a1686845bc10c004d87062234d2b0850000000049454e44ae426082";

const WEBP: &str = "\
    5249464646000000574542505650384c390000002f024000002f40204051861bea8c1b64d236a54aebdfc1ae2948db80e98ec3f9d7b2f90f\
    f8231e31ba5a03856c23c0a17b054ee922fa1fc30b00";

const TIFF: &str = "\
    49492a001a000000803fc010381410020201be900072d43602000a0000010300010000000300000001010300010000000200000002010300\
    0300000098000000030103000100000005000000060103000100000002000000110104000100000008000000150103000100000003000000\
    1601030001000000020000001701040001000000110000001c010300010000000100000000000000080008000800";

const JPEG_2000: &str = "\
    0000000c6a5020200d0a870a00000014667479706a703220000000006a7032200000002d6a70326800000016696864720000000200000003\
    0003070700000000000f636f6c7201000000000010000000cc6a703263ff4fff51002f000000000003000000020000000000000000000000\
    030000000200000000000000000003070101070101070101ff52000c00000001000104040001ff5c00074040484850ff6400250001437265\
    61746564206279204f70656e4a5045472076657273696f6e20322e352e34ff90000a0000000000510001ff93c7d4060b9b1fc7d40607c4df\
    df801807c767c3ea02bf3049f98100041f0b4cfb7f02bfcfc00a3ed038fc008002ef07c4d705b7c7da051f681c3ed020056f0b9b470319ff\
    d9";

const BMP: &str = "\
    424d4e0000000000000036000000280000000300000002000000010018000000000018000000c40e0000c40e000000000000000000000302\
    010780fa5a5a5a0000000000ff00ff00ff0000000000";

const BMP_PALETTE: &str = "\
    424d56000000000000004e000000280000000300000002000000010008000000000008000000c40e0000c40e000006000000060000000780\
    fa0000ff00005a5a5a00030201000000ff00ff0000000300020004010500";
