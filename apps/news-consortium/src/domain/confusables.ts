/** Which names look alike: the skeletons of UTS 39, in which one letter stands for all that look like it. */

/**
 * `prototype=letters that look like it`, as code points: the lines of confusables.txt 17.0.0 whose letter a name may hold. Prototypes are lower case, so that
 * 0 is an o as well. The data is Unicode's: Copyright © 1991-2025 Unicode, Inc., Unicode License V3.
 */
const table = `
  
  6f=30,3bf,3c3,43e,585,5e1,647,665,6be,6c1,6d5,6f5,966,9e6,a66,ae6,b20,b66,be6,c02,c66,c82,ce6,d02,d20,d66,d82,e50,ed0,101d,1040,10ff,12d0,17e0,1d0f,1d11,ab3d
  6c=31,1c0,4cf,5d5,5df,627,661,6f1 72+6e=6d 61+65=e6,4d5 2202+335=f0 6f+338=f8,ab3e 70=fe,1bf,3c1,3f8,440 64+335=111
  68+335=127,45b 69=131,269,26a,3b9,456,582,a647 6c+338=142 6e+329=14b,19e,3b7,572 6f+65=153 74+335=167
  62+335=180,463,48d 62+304=183 64+304=18c 67=18d,261,581,1d83 66=192,584,1e9d,a799,ab35 6b+314=199 6c+335=19a
  3bb+338=19b 70+314=1a5 74+314=1ad 79+314=1b4 7a+335=1b6 32+335=1bb 73=1bd,455,d1f,a731 6c+6c=1c1,5f0 21=1c3
  67+335=1e5 38=223,9ea,a6a,b03 7a+326=225 63+338=23c 65+338=247 6a+335=249 72+335=24d,493 79+335=24f,4b1
  61=251,3b1,430 62+314=253 64+328=256 64+314=257 1dd=259,4d9 1dd+2de=25a a793=25b,3b5,454,511 67+314=260
  79=263,28f,3b3,443,4af,10e7,1d8c,1eff,ab5a 68+314=266,a695 69+335=268,1d7b,1d7c 6c+334=26b 6c+328=26d 6c+21d=26e
  77=26f,448,461,51d,561,1d21 72+6e+326=271 6e+328=273 6f+335=275,3b8,473,4e9,a74b 6f+1d07=276 72+329=27c 72+328=27d
  73+328=282 75=28b,3c5,57d,1200,1d1c,a79f,ab4e,ab52 7a+328=290 21d=292,4e1,10f3,a76b 3f=294,97d a7ce=295,a7cf
  71+314=2a0 64+7a=2a3 64+21d=2a4 64+291=2a5 74+73=2a6 74+283=2a7 74+255=2a8 66+6e+329=2a9 6c+73=2aa 6c+7a=2ab
  27=2b9,2bb,2bc,2bd,2be,2c8,2ca,2cb,5d9,a78c 27+27=2ba,2ee,5f2 559=2bf 5e=2c6 3a=2d0,903,a83 304=305,659,1ae2,1cd2
  306=30c,36e,658,65a,945,a67c 670=30d 306+307=310,6e8,901,981,a81,b01,c00,c81,d01 302=311,65b,1cd0
  313=315,619,64f,8f3 650=317,61a 1ae9=31a 331=320,952 326=321,327,339 328=322,345,1ab7 335=336 338=337 303=342,653
  333=347 10efa=348 350=357,8f8,8ff 307=358,5b9,5ba,5c1,5c2,5c4,6ec,8ea,902,a02,a82,bcd
  30a=366,5af,652,6df,b82,e4d,ecd,1036,17c6,17d3,2dea,309a 1d0e=377,438 254=37b,1d10,2184 a73f=37d df=3b2,a7b5
  1e9f=3b4,56e 138=3ba,43a,1d0b 76=3bd,475,5d8,667,6f7,1d20 1d1b=3c4,442 278=3c6,444,1240 3c2=3db 6a=3f3,458 36=431
  299=432 72=433,1d26,ab47,ab48 65=435,4bd,ab32 25c=437,1d08 28d=43c,1d0d 29c=43d 3c0=43f,1d28 63=441,1004,105a,1d04
  78=445 2c9+62=44a 185+69=44b 185=44c 1d19=44f 75+329=45f 3c8=471 77+486+487=47d 1d0e+326+306=48b 72+27=491
  436+329=497 25c+326=499 138+329=49b 138+335=49f 29c+329=4a3 63+326=4ab 1d1b+329=4ad 68=4bb,570 65+328=4bf
  43b+326=4c6 29c+326=4c8,4ca 4b7=4cc 28d+326=4ce 64=501 262=50d 71=51b,563,566 237=575 6e=578,57c,1260 270=57a,1223
  301=59c,59d,618,64e,954 59a=5a4 599=5a8 596=5ad 598=5ae 323=5b4,5c5,65c,8ed,93c,9bc,a3c,abc,b3c,1cdd 6c+27=5f1
  649+6db=62b,63f,67e,6bd,6d1,752 633+6db=634 649+302=63d 649=64a,66e,6ba,6cc,6d2,8bd 30b=64b,8f0 329=656,1cdc 312=657
  314=65d 655=65f 2e=660,6f0,1d16d 28c=668,6f8,1d27 6a1=66f,8bb,8bc 6c+674=672 6c+655=673 649+615=679,6bb 62a=67a
  62d+654=681,772 62d+6db=685 62f+615=688 68a+615=68b 62f+6db=68e,68f 631+615=691 631+306=692 631+6db=698 635+6db=69e
  637+6db=69f 6a1+6db=6a4,6a8 641=6a7 643=6a9,6aa 643+6db=6ad,763 6af+6db=6b4 644+306=6b5 644+6db=6b7 629=6c3
  648+306=6c6 648+313=6c7 648+670=6c8 648+302=6c9 648+6db=6cb 649+306=6ce,756 67b=6d0 62f+302=6ee 631+302=6ef 662=6f2
  663=6f3 664=6f4 666=6f6 669=6f9,967 6f+302=6ff 628+6db=751 6ac=762 754=767,8a9 646+615=768 646+306=769 631+654=76c
  697+615=771 633+302=77e 649+30a=88f 628+654=8a1 6a2+6db=8a4 645+6db=8a7 649+654=8a8 62f+324+323=8ae 635+324+323=8af
  6af=8b0 648=8b1 632+302=8b2 628+6e2=8b6 649+6db+6e2=8b7 631+306+307=8b9 649+306+307=8ba 649+6db+306=8be 62a+306=8bf
  649+615+306=8c0 686+306=8c1 643+306=8c2 64c=8e5,8e8,8f1 308=8eb 324=8ee,1cde 64d=8f2 354=8f9 355=8fa 352=900
  905+946=904 905+93e=906 930+94d+907=908 90f+306=90d 90f+946=90e 90f+11b64=910 905+93e+306=911 905+93e+946=912
  905+93e+11b64=913 905+93e+948=914 93e+93a=93b 9bf=93f,a3f 11b64=947,a47 93e+306=949 300=953 11b62=956,a41
  11b63=957,a42 33=969,ae9 905+306=972 905+93a=973 905+93e+93a=974 905+94f=975 985+9be=986 98b+9c3=9e0,9e1
  39=9ed,a67,b68,d6d 9b0=9f0 983=a03,c03,c83,d03,d83,1038 a05+a3e=a06 92a+94d+91f+9bf=a07 92a+94d+91f+a40=a08
  a73+11b62=a09 a73+11b63=a0a 92a+94d+91f+11b64=a0f a05+948=a10 a05+a4c=a14 935=a15 924+94d+924=a1c 91f=a1f 920=a20
  909=a24 92a=a27 922=a2b 92d=a2e 939=a35 92e=a38 948=a48 946=a4b 94d=a4d,acd 92a+94d+91f=a72 a85+abe=a86 a85+ac5=a8d
  a85+ac7=a8f a85+ac8=a90 a85+abe+ac5=a91 a85+abe+ac7=a93 a85+abe+ac8=a94 447=aaa,aeb 968=ab0,ae8 93d=abd 941=ac1
  942=ac2 96a=aea 96e=aee b05+b3e=b06 b89+bb3=b8a b90=b9c,d1c b88=bb0,bbe bb6=bb8,d36 ba9=bc8 bb3=bd7 b95=be7
  b89=be8,d09 b9a=bea b88+bc1=beb b9a+bc1=bec b8e=bed b85=bee c12+c55=c13,c93 c12+c4c=c14,c94 c96+323=c16 c30+5bc=c20
  c21+323=c22 c27+5bc=c25 c2c+323=c2d c35+c41=c2e c35+323=c37 c35+c3e=c39 c41+c3e=c42 c43+c3e=c44 c0b+c3e=c60
  c0c+c3e=c61 c05=c85 c06=c86 c07=c87 c10=c90 c12=c92 c17=c97 c1c=c9c c1d=c9d c1e=c9e c1f=c9f c23=ca3 c26=ca6 c28=ca8
  c2f=caf c30=cb0 c31=cb1 c32=cb2 c33=cb3 c3f=cbf c41=cc1 c43=cc3 c5c=cdc c8c+cbe=ce1 c67=ce7 c68=ce8 c6f=cef
  d07+d57=d08 b89+d57=d0a d28+d41=d0c,d19 bc6+d0e=d10 d12+d3e=d13 d12+d57=d14 bb5=d16 ba3=d23 bae=d25
  d30=d31,1002,10d8 bb4=d34 b9f+bbf=d3a bbf=d3f,d40 d41=d42,d43 bc6=d46 bc7=d47 bc6+bc6=d48 971=d4e 6f+d30+6f=d5f
  d1e=d61 d30+d4d=d6a,d7c d26+d4d+d30=d6b d28+d4d+d28=d6c d35+d4d+d30=d6e d28+d4d=d6f,d7b ba3+d4d=d7a d32+d4d=d7d
  d33+d4d=d7e dc3+dd8=d8d d91+dca=d92 d91+dd9=d93 d91=db5 d9b=db6 d94=db9 da0=dc0 db7=dc4 de8+dcf=de9 da2=dea daf=deb
  de8+dd3=def e02=e03 e0a=e0b e0e=e0f e04=e14,e15 e11=e17 e06=e21 e20=e26 e40+e40=e41 e32=e45 e08=e88 e22=e8d e1a=e9a
  e1b=e9b e1d=e9d e1e=e9e e1f=e9f e38=eb8 e39=eb9 e48=ec8,17cb e49=ec9 e4a=eca e4b=ecb f68+f7c+f7e=f00 325=f37,302d
  f62=f6a f7a+f7a=f7b f7c+f7c=f7d d30+102c=1000 6f+102c=1010,10d7 1015+102c=101f d30+102c+1039+d30+102c=1023
  101e+103c=1029 101e+103c+b47+102c+103a=102a b47=1031 101b+103e=1061 1041=1065 1015+103e=1066 1015+102c+103e=106f
  1003+103e=1070 107d+103e=107e d30+103e=1081 571=1294 178a=178f 17a2=17a3 e34=17b7 e35=17b8 e36=17b9 e37=17ba
  6db=1ab4,20db 1ac6=1ad9 1ae5=1ae7 304+304=1ae8 32b=1cd5 32e=1cd8 32d=1cd9 30e=1cda 316=1ced 1dd+6f=1d14 7a=1d22
  1a8=1d24,a645 1d18=1d29 43b=1d2b 75+65=1d6b 66+334=1d6e 72+6e+334=1d6f 6e+334=1d70 72+334=1d72 27e+334=1d73
  73+334=1d74 74+334=1d75 7a+334=1d76 70+335=1d7d 75+335=1d7e 28a+335=1d7f 24b=1d90 1ada=1de8 2dec=1dee 1ddf=2de8
  368=2ded 1adb=2dee 36f=2def 363=2df6 364=2df7 309=302c 276c=304f,21fe8 4ebb=30a4 5de5=30a8 529b=30ab 5915=30bf
  535c=30c8 4e8c=30cb 2f=30ce,4e3f 516b=30cf 3078=30d8 53e3=30ed,56d7 513f=3126,16ff2 363d=39b3 3588=439b 3b3b=4420
  278ae=4695 30fc=4e00,a7f7 110c+1169=4e15 1109+1109+30fc=4e1b 5c=4e36 1b122=4e8e 1109+30fc+1100=4eca 4f75=5002
  5024=503c 16ff3=5152 1106+1161=535f 1109+30fc+1106=5408 5553=555f 5861=586b 571f=58eb 58ab=58ff 5aaf=5b00 5e21=5e32
  3b3a=5e50 2b73f=6138 6236=6238 3a41=6409 403f=6663 665a=6669 3ada=66f6 4443=6726 676e=67ff 3ba3=69e9 699d=6a27
  6e88=6f59 1102+116e+4e28=723f 7814=784f 7d55=7d76 670c=80a6 6710=80ca 670f=80d0 3b35=80f6 6713=8101 6718=8127
  80fc=8141 6723=81a7 848d=853f 8637=8641 46b6=8a1e 8a2e=8a7d 8b86=8b8f 8c5c=8c63 8d7f=8d86 8de5=8dfa 8e97=8e9b
  8eff=8f27 90ce=90de 93ad=93ae 1110+30fc+1102+110c=9577 96b7=96b8 9e42=9e43 9ed1=9ed2 4039=9fc3 3c9=a64d,a7b7
  2c9+62+69=a651 20e9=a66f 6f+6f=a699,a74f 74+21d=a729 61+61=a733 61+6f=a735 61+75=a737 61+76=a739,a73b 61+79=a73d
  77+326=a761 74+66=a777 26=a778 a779=a77a b7=a78f a727=a795 1043a=a79b 29a=a79d 3bb=a7db 254+338=ab3f 1dd+6f+338=ab41
  1dd+6f+335=ab42 283=ab4d 3c7=ab53,ab55 459=ab60 254+65=ab62 75+6f=ab63 646=10ec6 680=10ec7 51f5=20674 58f7=21533
  591a=21587 216a8=216a7 5f9a=22505 6d85=23d40 73a5=248fd 25119=2511a 8d1b=25ad4 265a8=2659d 26c36=26d06 24814=2aec5
  5cc0=2b73a 2335f=2b73e 5351=2d161 7dc7=31e7c`;

const characters = (text: string): string => text.replace(/[0-9a-f]+\+?/g, (each) => String.fromCodePoint(parseInt(each, 16)));

const prototypes = new Map(
  table
    .trim()
    .split(/\s+/)
    .flatMap((row) => {
      const [prototype = '', letters = ''] = row.split('=');
      return letters.split(',').map((letter) => [characters(letter), characters(prototype)] as const);
    }),
);

/** A dot above a letter that has one is not seen, nor that one makes an i of a dotless i. */
const dotOnDot = /(?<=\p{Soft_Dotted}\p{M}*)\u0307/gu;

/** Of a name in lower case; those of names that look alike are the same. It is for comparing, not for showing: `m` is `rn` there. */
export function skeleton(name: string): string {
  const seen = name.normalize('NFD').replace(/\p{Default_Ignorable_Code_Point}/gu, '');
  const alike = Array.from(seen, (letter) => prototypes.get(letter) ?? letter).join('');
  return alike.replace(dotOnDot, '').normalize('NFD');
}
