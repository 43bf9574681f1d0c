"""Categories and breeds of animals, with their Japanese and English names and synonyms.

`also` holds words for the same thing, never for a part of it: hamsters are small animals, but
"hamster" is no name of that category. Readings of kanji names are there as well, so that しば, siba
and shiba lead to 柴犬. The words work in searches and suggestions. A `・` in a Japanese name may be
left out or be a space.
"""

from typing import NamedTuple


class Name(NamedTuple):
    """What a category is called."""

    ja: str
    en: str
    also: tuple[str, ...] = ()


class Breed(NamedTuple):
    """What a breed or kind within a category is called."""

    category: str
    ja: str
    en: str
    also: tuple[str, ...] = ()


CATEGORIES = {
    "cat": Name("猫", "Cats", ("ねこ", "cat", "kitty", "にゃんこ", "ねこちゃん", "猫ちゃん")),
    "dog": Name("犬", "Dogs", ("いぬ", "dog", "doggy", "わんこ", "わんちゃん")),
    "bird": Name("鳥", "Birds", ("とり", "bird", "小鳥", "ことり", "鳥類")),
    "rabbit": Name("うさぎ", "Rabbits", ("兎", "rabbit", "bunny", "うさちゃん")),
    "small": Name("小動物", "Small animals", ("しょうどうぶつ", "small pets")),
    "fish": Name("魚", "Fish", ("さかな", "お魚", "fishes", "魚類")),
    "reptile": Name(
        "爬虫類・両生類",
        "Reptiles and amphibians",
        ("爬虫類", "はちゅうるい", "両生類", "りょうせいるい", "reptile", "amphibian"),
    ),
    "insect": Name("昆虫", "Insects", ("こんちゅう", "虫", "むし", "insect", "bug")),
    "horse": Name("馬", "Horses", ("うま", "horse", "お馬さん")),
    "farm": Name("牧場の動物", "Farm animals", ("家畜", "かちく", "livestock", "farm animal")),
    "wild": Name("野生動物", "Wild animals", ("やせいどうぶつ", "wild animal", "wildlife")),
    "sea": Name(
        "海の生き物",
        "Sea animals",
        ("うみのいきもの", "海洋生物", "sea animal", "marine life", "sea creature"),
    ),
    "other": Name("その他", "Other animals", ()),
}

BREEDS = {
    # ---- cats
    "cat_mixed": Breed("cat", "雑種猫", "Mixed-breed cat", ("ミックス猫", "moggy")),
    "american_shorthair": Breed(
        "cat", "アメリカン・ショートヘア", "American Shorthair", ("アメショ", "アメショー")
    ),
    "scottish_fold": Breed(
        "cat", "スコティッシュ・フォールド", "Scottish Fold", ("スコティッシュ",)
    ),
    "munchkin": Breed("cat", "マンチカン", "Munchkin"),
    "persian": Breed("cat", "ペルシャ猫", "Persian", ("ペルシャ", "ペルシャねこ")),
    "siamese": Breed("cat", "シャム猫", "Siamese", ("シャム", "シャムねこ")),
    "russian_blue": Breed("cat", "ロシアン・ブルー", "Russian Blue"),
    "maine_coon": Breed("cat", "メイン・クーン", "Maine Coon"),
    "norwegian_forest": Breed(
        "cat",
        "ノルウェージャン・フォレスト・キャット",
        "Norwegian Forest Cat",
        ("ノルウェージャン",),
    ),
    "ragdoll": Breed("cat", "ラグドール", "Ragdoll"),
    "bengal": Breed("cat", "ベンガル", "Bengal"),
    "british_shorthair": Breed(
        "cat", "ブリティッシュ・ショートヘア", "British Shorthair", ("ブリショ",)
    ),
    "abyssinian": Breed("cat", "アビシニアン", "Abyssinian"),
    "sphynx": Breed("cat", "スフィンクス", "Sphynx"),
    "calico": Breed("cat", "三毛猫", "Calico", ("みけねこ", "三毛")),
    "tabby": Breed("cat", "キジトラ", "Brown tabby", ("きじとら", "雉虎", "tabby")),
    "orange_tabby": Breed("cat", "茶トラ", "Orange tabby", ("ちゃとら", "茶虎", "ginger cat")),
    "black_cat": Breed("cat", "黒猫", "Black cat", ("くろねこ",)),
    "white_cat": Breed("cat", "白猫", "White cat", ("しろねこ",)),
    "tuxedo_cat": Breed("cat", "ハチワレ", "Tuxedo cat", ("はちわれ", "鉢割れ")),
    # ---- dogs
    "dog_mixed": Breed("dog", "雑種犬", "Mixed-breed dog", ("ミックス犬", "mutt")),
    "shiba": Breed(
        "dog",
        "柴犬",
        "Shiba Inu",
        ("しば", "柴", "しばいぬ", "しばけん", "shiba", "シバ犬", "柴わんこ"),
    ),
    "mame_shiba": Breed("dog", "豆柴", "Mame Shiba", ("まめしば",)),
    "akita": Breed("dog", "秋田犬", "Akita", ("あきたいぬ", "あきたけん", "akita inu")),
    "hokkaido": Breed("dog", "北海道犬", "Hokkaido dog", ("ほっかいどうけん",)),
    "kai": Breed("dog", "甲斐犬", "Kai Ken", ("かいけん",)),
    "chin": Breed("dog", "狆", "Japanese Chin", ("ちん",)),
    "spitz": Breed("dog", "日本スピッツ", "Japanese Spitz", ("スピッツ", "spitz")),
    "toy_poodle": Breed("dog", "トイ・プードル", "Toy Poodle", ("トイプー",)),
    "poodle": Breed("dog", "プードル", "Poodle"),
    "chihuahua": Breed("dog", "チワワ", "Chihuahua"),
    "dachshund": Breed(
        "dog",
        "ダックスフンド",
        "Dachshund",
        (
            "ミニチュア・ダックスフンド",
            "ミニチュア・ダックス",
            "ダックスフント",
            "ダックス",
            "miniature dachshund",
        ),
    ),
    "pomeranian": Breed("dog", "ポメラニアン", "Pomeranian", ("ポメ",)),
    "yorkshire": Breed("dog", "ヨークシャー・テリア", "Yorkshire Terrier", ("ヨーキー", "yorkie")),
    "maltese": Breed("dog", "マルチーズ", "Maltese"),
    "shih_tzu": Breed("dog", "シー・ズー", "Shih Tzu"),
    "papillon": Breed("dog", "パピヨン", "Papillon"),
    "french_bulldog": Breed(
        "dog", "フレンチ・ブルドッグ", "French Bulldog", ("フレブル", "frenchie")
    ),
    "bulldog": Breed("dog", "ブルドッグ", "Bulldog"),
    "pug": Breed("dog", "パグ", "Pug"),
    "corgi": Breed("dog", "ウェルシュ・コーギー", "Welsh Corgi", ("コーギー", "corgi")),
    "golden_retriever": Breed(
        "dog", "ゴールデン・レトリバー", "Golden Retriever", ("ゴールデン・レトリーバー",)
    ),
    "labrador": Breed(
        "dog",
        "ラブラドール・レトリバー",
        "Labrador Retriever",
        ("ラブラドール・レトリーバー", "ラブラドール", "labrador"),
    ),
    "beagle": Breed("dog", "ビーグル", "Beagle"),
    "border_collie": Breed("dog", "ボーダー・コリー", "Border Collie"),
    "german_shepherd": Breed(
        "dog", "ジャーマン・シェパード", "German Shepherd", ("シェパード", "alsatian")
    ),
    "schnauzer": Breed(
        "dog", "ミニチュア・シュナウザー", "Miniature Schnauzer", ("シュナウザー", "schnauzer")
    ),
    "jack_russell": Breed(
        "dog",
        "ジャック・ラッセル・テリア",
        "Jack Russell Terrier",
        ("ジャック・ラッセル", "jack russell"),
    ),
    "husky": Breed("dog", "シベリアン・ハスキー", "Siberian Husky", ("ハスキー", "husky")),
    "samoyed": Breed("dog", "サモエド", "Samoyed"),
    "dalmatian": Breed("dog", "ダルメシアン", "Dalmatian"),
    "cavalier": Breed(
        "dog",
        "キャバリア",
        "Cavalier King Charles Spaniel",
        ("キャバリア・キング・チャールズ・スパニエル", "cavalier"),
    ),
    # ---- birds
    "budgie": Breed("bird", "セキセイインコ", "Budgerigar", ("背黄青インコ", "budgie")),
    "cockatiel": Breed("bird", "オカメインコ", "Cockatiel"),
    "java_sparrow": Breed("bird", "文鳥", "Java sparrow", ("ぶんちょう",)),
    "parakeet": Breed("bird", "インコ", "Parakeet", ("鸚哥",)),
    "parrot": Breed("bird", "オウム", "Parrot", ("鸚鵡",)),
    "lovebird": Breed("bird", "コザクラインコ", "Peach-faced lovebird", ("小桜インコ", "lovebird")),
    "canary": Breed("bird", "カナリア", "Canary"),
    "sparrow": Breed("bird", "スズメ", "Sparrow", ("雀",)),
    "swallow": Breed("bird", "ツバメ", "Swallow", ("燕",)),
    "pigeon": Breed("bird", "ハト", "Pigeon", ("鳩", "dove")),
    "crow": Breed("bird", "カラス", "Crow", ("烏", "raven")),
    "duck": Breed("bird", "カモ", "Duck", ("鴨",)),
    "domestic_duck": Breed("bird", "アヒル", "Domestic duck", ("家鴨",)),
    "swan": Breed("bird", "白鳥", "Swan", ("はくちょう",)),
    "owl": Breed("bird", "フクロウ", "Owl", ("梟", "ミミズク")),
    "hawk": Breed("bird", "タカ", "Hawk", ("鷹",)),
    "eagle": Breed("bird", "ワシ", "Eagle", ("鷲",)),
    "kingfisher": Breed("bird", "カワセミ", "Kingfisher", ("翡翠",)),
    "long_tailed_tit": Breed("bird", "シマエナガ", "Long-tailed tit", ("エナガ",)),
    "penguin": Breed("bird", "ペンギン", "Penguin"),
    "flamingo": Breed("bird", "フラミンゴ", "Flamingo"),
    "peacock": Breed("bird", "クジャク", "Peacock", ("孔雀", "peafowl")),
    # ---- rabbits
    "netherland_dwarf": Breed("rabbit", "ネザーランド・ドワーフ", "Netherland Dwarf", ("ネザー",)),
    "holland_lop": Breed(
        "rabbit", "ホーランド・ロップ", "Holland Lop", ("ロップイヤー", "lop-eared rabbit")
    ),
    "lionhead": Breed("rabbit", "ライオンヘッド", "Lionhead rabbit"),
    # ---- small animals
    "hamster": Breed("small", "ハムスター", "Hamster", ("ハムちゃん",)),
    "guinea_pig": Breed("small", "モルモット", "Guinea pig", ("cavy",)),
    "chinchilla": Breed("small", "チンチラ", "Chinchilla"),
    "ferret": Breed("small", "フェレット", "Ferret"),
    "hedgehog": Breed("small", "ハリネズミ", "Hedgehog", ("針鼠",)),
    "sugar_glider": Breed("small", "フクロモモンガ", "Sugar glider", ("フクモモ",)),
    "squirrel": Breed("small", "リス", "Squirrel", ("栗鼠",)),
    "chipmunk": Breed("small", "シマリス", "Chipmunk", ("縞栗鼠",)),
    "degu": Breed("small", "デグー", "Degu"),
    "mouse": Breed("small", "ネズミ", "Mouse", ("鼠", "mice", "rat")),
    # ---- fish
    "goldfish": Breed("fish", "金魚", "Goldfish", ("きんぎょ",)),
    "koi": Breed("fish", "鯉", "Koi", ("錦鯉", "にしきごい", "carp")),
    "medaka": Breed("fish", "メダカ", "Japanese rice fish", ("目高", "medaka")),
    "betta": Breed("fish", "ベタ", "Betta"),
    "guppy": Breed("fish", "グッピー", "Guppy"),
    "clownfish": Breed("fish", "クマノミ", "Clownfish", ("clown fish",)),
    # ---- reptiles and amphibians
    "turtle": Breed("reptile", "カメ", "Turtle", ("亀", "tortoise")),
    "lizard": Breed("reptile", "トカゲ", "Lizard", ("蜥蜴",)),
    "gecko": Breed("reptile", "ヤモリ", "Gecko", ("守宮",)),
    "leopard_gecko": Breed("reptile", "ヒョウモントカゲモドキ", "Leopard gecko", ("レオパ",)),
    "chameleon": Breed("reptile", "カメレオン", "Chameleon"),
    "iguana": Breed("reptile", "イグアナ", "Iguana"),
    "snake": Breed("reptile", "ヘビ", "Snake", ("蛇",)),
    "crocodile": Breed("reptile", "ワニ", "Crocodile", ("鰐", "alligator")),
    "frog": Breed("reptile", "カエル", "Frog", ("蛙", "toad")),
    "newt": Breed("reptile", "イモリ", "Newt", ("井守",)),
    "salamander": Breed("reptile", "サンショウウオ", "Salamander", ("山椒魚",)),
    "axolotl": Breed("reptile", "ウーパールーパー", "Axolotl"),
    # ---- insects
    "butterfly": Breed("insect", "チョウ", "Butterfly", ("蝶", "ちょうちょ", "蝶々")),
    "beetle": Breed("insect", "カブトムシ", "Beetle", ("甲虫", "兜虫", "rhinoceros beetle")),
    "stag_beetle": Breed("insect", "クワガタ", "Stag beetle", ("クワガタムシ", "鍬形虫")),
    "dragonfly": Breed("insect", "トンボ", "Dragonfly", ("蜻蛉",)),
    "ladybird": Breed("insect", "テントウムシ", "Ladybird", ("天道虫", "ladybug")),
    "bee": Breed("insect", "ハチ", "Bee", ("蜂", "ミツバチ", "蜜蜂", "honeybee")),
    "cicada": Breed("insect", "セミ", "Cicada", ("蝉",)),
    "mantis": Breed("insect", "カマキリ", "Mantis", ("蟷螂", "praying mantis")),
    "grasshopper": Breed("insect", "バッタ", "Grasshopper", ("飛蝗", "locust")),
    # ---- horses
    "pony": Breed("horse", "ポニー", "Pony"),
    "thoroughbred": Breed("horse", "サラブレッド", "Thoroughbred"),
    "donkey": Breed("horse", "ロバ", "Donkey", ("驢馬",)),
    # ---- farm animals
    "cow": Breed("farm", "牛", "Cow", ("うし", "cattle")),
    "sheep": Breed("farm", "羊", "Sheep", ("ひつじ",)),
    "goat": Breed("farm", "ヤギ", "Goat", ("山羊",)),
    "pig": Breed("farm", "豚", "Pig", ("ぶた",)),
    "chicken": Breed("farm", "ニワトリ", "Chicken", ("鶏", "hen", "rooster")),
    "alpaca": Breed("farm", "アルパカ", "Alpaca"),
    # ---- wild animals
    "tanuki": Breed("wild", "タヌキ", "Raccoon dog", ("狸", "tanuki")),
    "fox": Breed("wild", "キツネ", "Fox", ("狐", "キタキツネ")),
    "raccoon": Breed("wild", "アライグマ", "Raccoon", ("洗熊",)),
    "bear": Breed("wild", "クマ", "Bear", ("熊",)),
    "polar_bear": Breed("wild", "シロクマ", "Polar bear", ("白熊", "ホッキョクグマ", "北極熊")),
    "deer": Breed("wild", "シカ", "Deer", ("鹿",)),
    "monkey": Breed("wild", "サル", "Monkey", ("猿",)),
    "gorilla": Breed("wild", "ゴリラ", "Gorilla"),
    "wolf": Breed("wild", "オオカミ", "Wolf", ("狼", "wolves")),
    "boar": Breed("wild", "イノシシ", "Wild boar", ("猪", "boar")),
    "lion": Breed("wild", "ライオン", "Lion", ("獅子",)),
    "tiger": Breed("wild", "トラ", "Tiger", ("虎",)),
    "leopard": Breed("wild", "ヒョウ", "Leopard", ("豹",)),
    "cheetah": Breed("wild", "チーター", "Cheetah"),
    "elephant": Breed("wild", "ゾウ", "Elephant", ("象",)),
    "giraffe": Breed("wild", "キリン", "Giraffe", ("麒麟",)),
    "zebra": Breed("wild", "シマウマ", "Zebra", ("縞馬",)),
    "hippo": Breed("wild", "カバ", "Hippopotamus", ("河馬", "hippo")),
    "rhino": Breed("wild", "サイ", "Rhinoceros", ("犀", "rhino")),
    "panda": Breed("wild", "パンダ", "Panda", ("ジャイアントパンダ", "giant panda")),
    "red_panda": Breed("wild", "レッサーパンダ", "Red panda"),
    "kangaroo": Breed("wild", "カンガルー", "Kangaroo"),
    "koala": Breed("wild", "コアラ", "Koala"),
    "camel": Breed("wild", "ラクダ", "Camel", ("駱駝",)),
    "capybara": Breed("wild", "カピバラ", "Capybara"),
    "otter": Breed("wild", "カワウソ", "Otter", ("川獺",)),
    "meerkat": Breed("wild", "ミーアキャット", "Meerkat"),
    "bat": Breed("wild", "コウモリ", "Bat", ("蝙蝠",)),
    # ---- sea animals
    "dolphin": Breed("sea", "イルカ", "Dolphin", ("海豚",)),
    "whale": Breed("sea", "クジラ", "Whale", ("鯨",)),
    "orca": Breed("sea", "シャチ", "Orca", ("鯱", "killer whale")),
    "seal": Breed("sea", "アザラシ", "Seal", ("海豹",)),
    "sea_lion": Breed("sea", "アシカ", "Sea lion", ("海驢",)),
    "sea_otter": Breed("sea", "ラッコ", "Sea otter", ("海獺",)),
    "sea_turtle": Breed("sea", "ウミガメ", "Sea turtle", ("海亀",)),
    "shark": Breed("sea", "サメ", "Shark", ("鮫",)),
    "jellyfish": Breed("sea", "クラゲ", "Jellyfish", ("海月", "水母")),
    "octopus": Breed("sea", "タコ", "Octopus", ("蛸",)),
    "squid": Breed("sea", "イカ", "Squid", ("烏賊",)),
    "crab": Breed("sea", "カニ", "Crab", ("蟹",)),
    "seahorse": Breed("sea", "タツノオトシゴ", "Seahorse"),
}


def breeds_of(category: str) -> dict[str, Breed]:
    """The breeds of one category, in the order in which they are offered."""
    return {code: breed for code, breed in BREEDS.items() if breed.category == category}
